// Package sweep publishes again what no consumer has, and sends a heartbeat along
// the whole way.
//
// Promise: an event of the outbox whose message was lost, wherever that was, gets
//
//	its consumer row without a person; what is merely waiting (before the relay,
//	in the stream, in an open transaction) is not published again.
//
// State:   sweep_marks (how far each consumer is whole), sweep_samples (where log
//
//	and transactions were), sweep_owed (what is missing).
//
// Failure: a pass that fails is made again; what it published twice is met by its
//
//	event id.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Config is how often to look, and how long to wait.
type Config struct {
	Interval time.Duration `env:"INTERVAL, default=1m"`
	Grace    time.Duration `env:"GRACE, default=60s"` // a younger row may be on its way
	Again    time.Duration `env:"AGAIN, default=10m"` // between two messages for one event
	Whole    time.Duration `env:"WHOLE, default=1h"`  // between passes over whole days
}

// Deps are what a Sweeper works with.
type Deps struct {
	Pool *pgxpool.Pool       // as runtime_worker
	JS   jetstream.JetStream // looks
	// Publisher publishes, where an account lets the one who looks publish nothing;
	// nil: the same.
	Publisher jetstream.JetStream
	Slot      string // what the relay reads from
	Hold      Hold

	Actor string // in the ledger
	Now   func() time.Time
	Log   zerolog.Logger
}

// Hold makes sure, inside a transaction, that nobody else sweeps until it has
// ended.
type Hold func(ctx context.Context, tx pgx.Tx) error

// Key is one row of the outbox.
type Key struct {
	Tenant string
	Day    time.Time
	ID     event.ID
}

// Sweeper looks for rows that are missing. One process at a time runs it.
type Sweeper struct {
	Deps
	cfg      Config
	encoder  *encoder
	durables []durable
	metrics  *metrics

	settling sync.Mutex // nothing is judged twice at a time, and published twice
}

// durable is one durable consumer and what it is owed.
type durable struct {
	consumer, stream string
	families         []string
}

// New prepares a Sweeper; Run starts it.
func New(cfg Config, deps Deps) (*Sweeper, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	if deps.Publisher == nil {
		deps.Publisher = deps.JS
	}
	return &Sweeper{Deps: deps, cfg: cfg, encoder: newEncoder(), durables: durables(), metrics: m}, nil
}

// durables follow from the entitlements.
func durables() (all []durable) {
	for _, e := range transport.Entitlements() {
		at := slices.IndexFunc(all, func(d durable) bool { return d.consumer == e.Consumer && d.stream == e.Stream() })
		if at < 0 {
			at = len(all)
			all = append(all, durable{consumer: e.Consumer, stream: e.Stream()})
		}
		all[at].families = append(all[at].families, e.Family)
	}
	return all
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	stop, err := s.metrics.export(s.Now)
	if err != nil {
		return err
	}
	defer stop()
	var g errgroup.Group
	g.Go(func() error { s.every(ctx, s.cfg.Interval, s.Pass); return nil })
	g.Go(func() error { s.every(ctx, s.cfg.Interval, s.Whole); return nil })
	g.Go(func() error { s.every(ctx, s.cfg.Whole, s.Close); return nil })
	return g.Wait()
}

// every calls do at once and then at each interval, until ctx ends.
func (s *Sweeper) every(ctx context.Context, interval time.Duration, do func(context.Context) error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn().Str("event", "sweep.failed").Err(err).Send()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Pass looks for what is missing since the last one, and publishes what is owed.
// A consumer that cannot be asked keeps none of the others waiting.
func (s *Sweeper) Pass(ctx context.Context) error {
	now := s.Now()
	samples, slot, err := s.sample(ctx, now)
	if err != nil {
		return err
	}
	var failed []error
	seen := newSight()
	for _, d := range s.durables {
		if err := s.sweep(ctx, d, now, samples, slot, seen); err != nil {
			failed = append(failed, fmt.Errorf("sweep %s on %s: %w", d.consumer, d.stream, err))
		}
	}
	if len(failed) == 0 {
		s.metrics.sight.Store(seen)
	}
	return errors.Join(failed...)
}

func (s *Sweeper) sweep(ctx context.Context, d durable, now time.Time, samples []Sample, slot Slot, seen *sight) error {
	floor, err := s.floor(ctx, d)
	if err != nil {
		return err
	}
	limits := LimitsAt(now, s.cfg.Grace, samples, slot, floor)
	mark, err := s.mark(ctx, d)
	if err != nil || mark.IsZero() {
		return err
	}
	for _, w := range windows(mark, limits.Until()) {
		if err := s.find(ctx, d, w, now); err != nil {
			return err
		}
		// In steps: a pass that is cut off goes on from here.
		if mark, err = s.advance(ctx, d, earliest(w.to, limits.Mark())); err != nil {
			return err
		}
	}
	seen.swept(mark)
	return s.settle(ctx, d, limits, now, seen)
}

// Whole looks through all days that are not closed, when that is due: an id may
// have been made long before its row was appended.
func (s *Sweeper) Whole(ctx context.Context) error {
	now := s.Now()
	samples, slot, err := s.sample(ctx, now)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range s.durables {
		if err := s.whole(ctx, d, now, samples, slot); err != nil {
			failed = append(failed, fmt.Errorf("sweep whole days for %s on %s: %w", d.consumer, d.stream, err))
		}
	}
	return errors.Join(failed...)
}

func (s *Sweeper) whole(ctx context.Context, d durable, now time.Time, samples []Sample, slot Slot) error {
	due, err := s.wholeIsDue(ctx, d, now)
	if err != nil || !due {
		return err
	}
	floor, err := s.floor(ctx, d)
	if err != nil {
		return err
	}
	from, err := s.oldestOpen(ctx, now)
	if err != nil {
		return err
	}
	until := LimitsAt(now, s.cfg.Grace, samples, slot, floor).Until()
	for _, w := range windows(from, until) {
		if err := s.find(ctx, d, w, now); err != nil {
			return err
		}
	}
	return s.wholeDone(ctx, d, now)
}
