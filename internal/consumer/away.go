package consumer

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// awayError ends a pull because the database takes no rows.
type awayError struct {
	kept jetstream.Msg // one of those it did not take; not answered yet
}

func (*awayError) Error() string { return "database takes no rows" }

// looks with one message, which may be to blame itself, before another is tried.
const looks = 5

// outlast returns when the database takes rows again. That it answers a question
// says little about a full disk, so it is asked to take a message; and one that
// is kept for that, instead of given back, is not delivered once more each time.
func (c *Consumer) outlast(ctx context.Context, kept jetstream.Msg) {
	work, cancel := linger(ctx, c.cfg.DrainFor)
	defer cancel()
	wait, longest := c.cfg.AwayPause, max(c.cfg.NakWithin, c.cfg.AwayPause)
	for look := 1; ; look++ {
		c.awaitDatabase(ctx, wait, kept)
		if ctx.Err() != nil {
			c.giveUp(kept)
			return
		}
		if look%looks == 0 {
			kept = c.exchange(ctx, kept)
		}
		if len(c.handle(work, []jetstream.Msg{kept})) == 0 {
			return
		}
		wait = min(2*wait, longest)
	}
}

// exchange gives msg back for another one, if there is any.
func (c *Consumer) exchange(ctx context.Context, msg jetstream.Msg) jetstream.Msg {
	source, err := c.deps.JS.Consumer(ctx, c.deps.Stream, c.deps.Name)
	if err != nil {
		return msg
	}
	other, err := source.Next(jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return msg
	}
	c.nak(msg)
	return other
}

const sqlWritable = `SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean`

// awaitDatabase returns when the database answers again, but not before wait.
// Meanwhile msg stays ours.
func (c *Consumer) awaitDatabase(ctx context.Context, wait time.Duration, msg jetstream.Msg) {
	for ; ctx.Err() == nil; wait = c.cfg.AwayPause {
		if err := msg.InProgress(); err != nil {
			c.log.Debug().Str("event", "message.settle_failed").Err(err).Send()
		}
		pause(ctx, wait)
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		var writable bool
		err := c.deps.Pool.QueryRow(try, sqlWritable).Scan(&writable)
		cancel()
		if err == nil && writable {
			return
		}
	}
}
