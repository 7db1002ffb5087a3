package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	steadyRate = 6000 // events a second
	steadyTx   = 20   // events of a transaction
	steadyFor  = 10 * time.Second
	producers  = 4
)

// latencyPart says how long after its commit an event reaches a consumer.
func latencyPart(ctx context.Context, b *bed, o options) error {
	lib := func() (*program, error) {
		return b.start("lib", b.lib, []string{"DATABASE_URL=" + b.url(database, "runtime_relay"), "NATS_URL=" + b.brokerURL})
	}
	names := [2]string{"relay", "lib"}
	var all [2][]arrivals
	for round := range o.rounds {
		for k := range names {
			i := (k + round) % 2
			a, err := b.steady(ctx, [2]func() (*program, error){b.relay, lib}[i])
			if err != nil {
				return err
			}
			all[i] = append(all[i], a)
		}
	}
	fmt.Printf("\nlatency: from commit to consumer, %d events/s in transactions of %d, %d rounds each\n  %-22s %12s %10s %10s\n", steadyRate, steadyTx, o.rounds, "", "events/s", "p50 ms", "p99 ms")
	for i, name := range names {
		fmt.Printf("  %-22s %12.0f %10.1f %10.1f\n", name, middle(all[i], arrivals.rate), middle(all[i], percentile(0.5)), middle(all[i], percentile(0.99)))
	}
	return nil
}

// arrivals are how long each event took, sorted.
type arrivals struct {
	took []time.Duration
	in   time.Duration
}

func (a arrivals) rate() float64 { return float64(len(a.took)) / a.in.Seconds() }

// percentile is in milliseconds.
func percentile(share float64) func(arrivals) float64 {
	return func(a arrivals) float64 {
		return float64(a.took[int(share*float64(len(a.took)-1))].Microseconds()) / 1000
	}
}

func middle(runs []arrivals, of func(arrivals) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// watched knows when events were committed, and when they came.
type watched struct {
	mu        sync.Mutex
	committed map[string]time.Time
	came      map[string]time.Time
}

func (b *bed) steady(ctx context.Context, begin func() (*program, error)) (a arrivals, err error) {
	if err := b.emptyStreams(ctx); err != nil {
		return a, err
	}
	if _, err := migrations.EnsureSlot(ctx, b.url(database, ""), migrations.Slot); err != nil {
		return a, err
	}
	p, err := begin()
	if err != nil {
		return a, err
	}
	w := &watched{committed: map[string]time.Time{}, came: map[string]time.Time{}}
	stop, err := b.watch(ctx, w)
	if err != nil {
		return a, err
	}
	defer stop()
	if err := b.awaitActive(ctx); err != nil {
		return a, err
	}
	began := time.Now()
	if err := b.produceSteadily(ctx, w); err != nil {
		return a, err
	}
	a.in = time.Since(began)
	err = await(ctx, "all events came", func() (bool, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.came) >= len(w.committed), nil
	})
	if err = errors.Join(err, p.stop()); err != nil {
		return a, err
	}
	for id, at := range w.committed {
		a.took = append(a.took, max(0, w.came[id].Sub(at)))
	}
	slices.Sort(a.took)
	if err := b.awaitIdle(ctx, migrations.Slot); err != nil {
		return a, err
	}
	return a, b.exec(ctx, `SELECT pg_drop_replication_slot($1)`, migrations.Slot)
}

func (b *bed) awaitActive(ctx context.Context) error {
	return await(ctx, "somebody reads the slot", func() (bool, error) {
		n, err := b.count(ctx, `SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND active`, migrations.Slot)
		return n == 1, err
	})
}

func (b *bed) watch(ctx context.Context, w *watched) (stop func(), err error) {
	c, err := b.js.OrderedConsumer(ctx, transport.Interactions, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	consuming, err := c.Consume(func(msg jetstream.Msg) {
		at := time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.came[msg.Headers().Get(nats.MsgIdHdr)] = at
	})
	if err != nil {
		return nil, err
	}
	return consuming.Stop, nil
}

// produceSteadily commits at the rate, whatever a commit takes: who is late makes
// up for it.
func (b *bed) produceSteadily(ctx context.Context, w *watched) error {
	var g errgroup.Group
	const every = time.Second * steadyTx * producers / steadyRate
	for n := range producers {
		g.Go(func() error {
			conn, err := pgx.Connect(ctx, b.url(database, "runtime_producer"))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			began := time.Now()
			for i := range int(steadyFor / every) {
				<-time.After(time.Until(began.Add(time.Duration(i) * every)))
				events := make([]outbox.Event, steadyTx)
				for k := range events {
					events[k] = call((n*1_000_000+i)*steadyTx + k)
				}
				var ids []string
				err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) { ids, err = outbox.Append(ctx, tx, events...); return err })
				if err != nil {
					return err
				}
				w.commit(ids)
			}
			return nil
		})
	}
	return g.Wait()
}

func (w *watched) commit(ids []string) {
	at := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.committed[id] = at
	}
}
