package main

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/migrations"
)

const sqlNearRealTime = `
UPDATE event_runtime.tenant_config SET mode = 'near_real_time', windows = '{}', max_items = 1000, max_age = '1 second'`

const sqlReceipts = `
SELECT count(*) FROM event_runtime.submission_receipts WHERE accepted`

// pathPart lets a producer run with everything behind it until the last receipt
// is stored, and then alone.
func pathPart(ctx context.Context, b *bed, o options) error {
	regulator, env, err := b.regulator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = regulator.stop() }()
	if err := b.exec(ctx, sqlNearRealTime); err != nil {
		return err
	}
	if _, err := migrations.EnsureSlot(ctx, b.url(database, ""), migrations.Slot); err != nil {
		return err
	}
	relay, err := b.relay()
	if err != nil {
		return err
	}
	serve, err := b.serve(env...)
	if err != nil {
		return err
	}
	whole, err := b.whole(ctx, o.events, map[string]func() time.Duration{
		"postgres": func() time.Duration { return treeCPU(b.postgres.PID()) }, "nats": b.broker.cpu, "relay": relay.cpu, "serve": serve.cpu, "regulator (not ours)": regulator.cpu,
	})
	if err != nil {
		return err
	}
	for _, p := range []*program{relay, serve} {
		if err := p.stop(); err != nil {
			return err
		}
	}
	if err := b.wantWhole(ctx); err != nil {
		return err
	}
	alone, err := b.timed(ctx, o.events)
	if err != nil {
		return err
	}
	fmt.Printf("\npath: from the producer's commit to the stored receipt, %d events\n  %-22s %12s\n  %-22s %12.0f\n  %-22s %12.0f\n  %-22s %11.2fx\n",
		o.events, "", "events/s", "whole path", whole.rate(), "producer alone", alone.rate(), "whole / alone", whole.rate()/alone.rate())
	return nil
}

// timed is the producer alone.
func (b *bed) timed(ctx context.Context, n int) (sample, error) {
	began := time.Now()
	err := b.produce(ctx, n)
	return sample{n: n, took: time.Since(began)}, err
}

// whole is from the first append to the last receipt. Who used the processor is
// printed by name.
func (b *bed) whole(ctx context.Context, n int, used map[string]func() time.Duration) (r sample, err error) {
	before := map[string]time.Duration{}
	for name, cpu := range used {
		before[name] = cpu()
	}
	began := time.Now()
	if err := b.produce(ctx, n); err != nil {
		return r, err
	}
	if err := await(ctx, "all receipts are stored", func() (bool, error) { got, err := b.count(ctx, sqlReceipts); return got >= n, err }); err != nil {
		return r, err
	}
	r = sample{n: n, took: time.Since(began)}
	fmt.Printf("\npath: CPU-s/100k by process\n")
	for _, name := range []string{"postgres", "nats", "relay", "serve", "regulator (not ours)"} {
		fmt.Printf("  %-22s %12.2f\n", name, sample{n: n, cpu: used[name]() - before[name]}.cpu100k())
	}
	return r, nil
}
