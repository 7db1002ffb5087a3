// Package consumer pulls events from JetStream and makes each one exactly one
// durable row.
//
// Promise: a message is acknowledged only when what became of it is committed;
//
//	a bad one never keeps a good one back; while the database is away nothing
//	is pulled and nothing is lost.
//
// State:   consumer_idempotency, reclassifications, lane_chunks, quarantine and
//
//	books; in memory only the hand of messages being persisted.
//
// Failure: decisions follow docs/outcomes.md; what is transient is delivered
//
//	again, what is not goes before a person.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Config bounds the consumer.
type Config struct {
	BatchSize int           `env:"BATCH_SIZE, default=500"` // messages of one transaction
	BatchWait time.Duration `env:"BATCH_WAIT, default=5ms"` // for more of them to come
	DrainFor  time.Duration `env:"DRAIN_FOR, default=10s"`  // to finish what is in hand at shutdown
	SilentFor time.Duration `env:"SILENT_FOR, default=60s"` // with messages pending: not ready, and pulled anew
	AwayPause time.Duration `env:"AWAY_PAUSE, default=1s"`  // between looks whether the database is back
	NakWithin time.Duration `env:"NAK_WITHIN, default=30s"` // redelivery of what the database could not take, spread over this
}

// Deps are what a Consumer is built of.
type Deps struct {
	Name     string // of the durable consumer
	Stream   string
	JS       jetstream.JetStream
	Pool     *pgxpool.Pool
	Catalog  *event.Catalog
	Tenants  func() *tenant.Snapshot
	Reporter submit.Reporter
	Now      func() time.Time
	Log      zerolog.Logger
	Wake     func() // called when something new waits in a lane
}

// Consumer is one durable consumer on one stream.
type Consumer struct {
	cfg     Config
	deps    Deps
	store   *store
	metrics *metrics
	log     zerolog.Logger
	silent  atomic.Bool // written by Run, read by Ready
}

// New starts nothing.
func New(cfg Config, deps Deps) (*Consumer, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Consumer{cfg: cfg, deps: deps, store: &store{pool: deps.Pool, consumer: deps.Name, now: deps.Now}, metrics: m,
		log: deps.Log.With().Str("consumer", deps.Name).Str("stream", deps.Stream).Logger()}, nil
}

// Ready says why the consumer is not working, or "".
func (c *Consumer) Ready() string {
	if c.silent.Load() {
		return "silent although messages wait"
	}
	return ""
}

// errSilent ends a pull that gets nothing although messages wait.
var errSilent = errors.New("no message although some are pending")

// Run pulls until ctx ends, then finishes what is in hand. A pull that broke is
// opened anew; a consumer that stays silent a second time ends the process,
// whose supervisor starts another.
func (c *Consumer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.pull(ctx)
		var away *awayError
		switch {
		case errors.As(err, &away):
			c.outlast(ctx, away.kept)
		case ctx.Err() != nil: // we are going
		case errors.Is(err, errSilent) && c.silent.Swap(true):
			return fmt.Errorf("consumer %s on %s: %w, again", c.deps.Name, c.deps.Stream, err)
		case err != nil:
			c.log.Warn().Str("event", "consumer.pull_failed").Err(err).Send()
			pause(ctx, c.cfg.AwayPause)
		}
	}
	return nil
}

// pull works through one message iterator.
func (c *Consumer) pull(ctx context.Context) error {
	source, err := c.deps.JS.Consumer(ctx, c.deps.Stream, c.deps.Name)
	if err != nil {
		return fmt.Errorf("find durable consumer: %w", err)
	}
	work, cancel := linger(ctx, c.cfg.DrainFor)
	defer cancel()
	hands, err := deal(source, c.cfg.BatchSize, c.cfg.BatchWait)
	if err != nil {
		return err
	}
	defer hands.stop()
	defer context.AfterFunc(ctx, hands.drain)()
	watch := newWatchdog(source, c.cfg.SilentFor)
	defer watch.stop()
	for {
		select {
		case hand, open := <-hands.out:
			if !open {
				return hands.err()
			}
			c.silent.Store(false)
			if left := c.handle(work, hand); len(left) > 0 {
				hands.drain()
				for _, msg := range left[1:] {
					c.nak(msg)
				}
				c.giveBack(hands, c.nak)
				return &awayError{kept: left[0]}
			}
			watch.heard() // only now: however long a hand took, we were not left alone
		case <-watch.bark:
			if ctx.Err() == nil && watch.pending(ctx) {
				return errSilent
			}
		case <-work.Done():
			c.giveBack(hands, c.giveUp)
			return nil
		}
	}
}

// handle persists a hand and answers each message, but for those left because
// the database does not take them.
func (c *Consumer) handle(ctx context.Context, hand []jetstream.Msg) (left []jetstream.Msg) {
	decisions := make([]Decision, 0, len(hand))
	messages := make([]jetstream.Msg, 0, len(hand))
	known := Knowledge{Catalog: c.deps.Catalog, Tenants: c.deps.Tenants(), Report: c.deps.Reporter}
	verdicts := c.classifyAll(hand, known)
	for i, msg := range hand {
		if verdicts[i].again {
			c.nak(msg)
			continue
		}
		decisions, messages = append(decisions, verdicts[i].Decision), append(messages, msg)
	}
	crash.Point("after_fetch")
	if len(decisions) == 0 {
		return nil
	}
	began := time.Now()
	met, err := c.store.persist(ctx, decisions)
	if err != nil {
		if ctx.Err() != nil { // our own shutdown: nothing is wrong with the database
			for _, msg := range messages {
				c.giveUp(msg)
			}
			return nil
		}
		c.log.Error().Str("event", "consumer.database_down").Int("messages", len(messages)).Err(err).Send()
		return messages
	}
	crash.Point("after_persist_before_ack")
	c.metrics.persisted(ctx, c.deps.Name, met, time.Since(began))
	c.announce(ctx, met)
	for i, d := range met {
		c.settle(messages[i], d)
	}
	crash.Point("after_ack")
	if c.deps.Wake != nil {
		c.deps.Wake()
	}
	return nil
}

// verdict is a decision, unless the message is to be tried again.
type verdict struct {
	Decision
	again bool
}

// share is how many messages are worth a goroutine.
const share = 32

// classifyAll decides about each message of a hand on all processors: deciding
// costs more of their time than writing, and one decision asks for no other.
func (c *Consumer) classifyAll(hand []jetstream.Msg, known Knowledge) []verdict {
	verdicts := make([]verdict, len(hand))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1) - 1); i < len(hand); i = int(next.Add(1) - 1) {
			verdicts[i].Decision, verdicts[i].again = c.classify(hand[i], known)
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(hand)/share) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return verdicts
}

// panics is how often a message may make the handler panic before it is set
// aside.
const panics = 3

// classify survives a panic: one message must not stop the others.
func (c *Consumer) classify(msg jetstream.Msg, known Knowledge) (d Decision, again bool) {
	m := read(msg)
	defer func() {
		if cause := recover(); cause != nil {
			c.log.Error().Str("event", "consumer.handler_panicked").Str("subject", m.Subject).Uint64("stream_seq", m.Seq).
				Str("stack", string(debug.Stack())).Send() // the cause may hold a value of the event
			d, again = Decision{Message: m, Reason: HandlerPanic}, m.Delivered < panics
		}
	}()
	return Classify(m, known), false
}

func read(msg jetstream.Msg) Message {
	m := Message{Subject: msg.Subject(), Body: msg.Data(), MsgID: msg.Headers().Get(jetstream.MsgIDHeader), Delivered: 1}
	if meta, err := msg.Metadata(); err == nil {
		m.Stream, m.Seq, m.Delivered = meta.Stream, meta.Sequence.Stream, meta.NumDelivered
	}
	return m
}

// giveBackFor bounds how long the rest of a pull is waited for; what has not
// come by then is delivered again after AckWait.
const giveBackFor = 2 * time.Second

// giveBack returns what has been pulled and not been looked at.
func (c *Consumer) giveBack(hands *hands, nak func(jetstream.Msg)) {
	late := time.NewTimer(giveBackFor)
	defer late.Stop()
	for {
		select {
		case hand, open := <-hands.out:
			if !open {
				return
			}
			for _, msg := range hand {
				nak(msg)
			}
		case <-late.C:
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// linger is a context that outlives ctx by d at most: work in hand is finished,
// not begun.
func linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() { stop(); cancel() }
}

// Name is the durable consumer and its stream.
func (c *Consumer) Name() string { return c.deps.Name + " on " + c.deps.Stream }
