package consumer

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/nats-io/nats.go/jetstream"
)

// settle answers JetStream. The row is committed: an answer that is lost costs
// one redelivery, which is met as a duplicate.
func (c *Consumer) settle(msg jetstream.Msg, d Decision) {
	var err error
	switch d.Answer() {
	case Term:
		crash.Point("quarantine_after_row_before_term")
		err = msg.TermWithReason(string(d.Reason))
	default:
		err = msg.Ack()
	}
	if err != nil {
		c.log.Debug().Str("event", "message.settle_failed").Err(err).Send()
	}
}

// giveUp gives a message back because we are going: another worker may have it
// at once.
func (c *Consumer) giveUp(msg jetstream.Msg) {
	if err := msg.Nak(); err != nil {
		c.log.Debug().Str("event", "message.settle_failed").Err(err).Send()
	}
}

// nak gives a message back, spread over a while: plain naks come back a thousand
// times a second.
func (c *Consumer) nak(msg jetstream.Msg) {
	delay := time.Second + rand.N(max(c.cfg.NakWithin-time.Second, 1))
	if err := msg.NakWithDelay(delay); err != nil {
		c.log.Debug().Str("event", "message.settle_failed").Err(err).Send()
	}
}

// announce tells the stream DLQ what was set aside, before the messages are
// terminated. What cannot be told now is told from the row later.
func (c *Consumer) announce(ctx context.Context, met []Decision) {
	aside := 0
	for _, d := range met {
		w, _ := d.about()
		switch {
		case d.Reason == Conflict:
			c.log.Error().Str("event", "event.conflicted").Str("tenant_id", w.tenant).Stringer("event_id", w.id).Uint64("stream_seq", d.Message.Seq).Send()
		case d.Quarantined() && !d.Again:
			aside++
			c.log.Error().Str("event", "event.quarantined").Str("reason", string(d.Reason)).Str("where", d.Where).Str("subject", d.Message.Subject).
				Uint64("stream_seq", d.Message.Seq).Send()
		}
	}
	if aside == 0 {
		return
	}
	if err := quarantine.Announce(ctx, c.deps.Pool, c.deps.JS); err != nil {
		c.log.Warn().Str("event", "quarantine.announce_failed").Err(err).Send()
	}
}
