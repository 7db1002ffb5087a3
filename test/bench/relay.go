package main

import (
	"context"

	"github.com/finnest/event-runtime/migrations"
)

// template is a slot that nobody reads: each contender gets a copy of it, and so
// the same log from the same place.
const template = "bench_template"

// relayPart gives both relays a log of rows that are there already.
func relayPart(ctx context.Context, b *bed, o options) error {
	if err := b.exec(ctx, `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, template); err != nil {
		return err
	}
	if err := b.produce(ctx, o.rows); err != nil {
		return err
	}
	lib := func() (*program, error) {
		return b.start("lib", b.lib, []string{"DATABASE_URL=" + b.url(database, "runtime_relay"), "NATS_URL=" + b.brokerURL})
	}
	runs, err := alternate(o.rounds, [2]func() (sample, error){
		func() (sample, error) { return catchUp(ctx, b, o.rows, b.relay) },
		func() (sample, error) { return catchUp(ctx, b, o.rows, lib) },
	})
	if err != nil {
		return err
	}
	compare("relay: catching up with a log", [2]string{"relay", "lib"}, runs)
	return nil
}

func catchUp(ctx context.Context, b *bed, rows int, begin func() (*program, error)) (r sample, err error) {
	if err := b.emptyStreams(ctx); err != nil {
		return r, err
	}
	if err := b.exec(ctx, `SELECT pg_copy_logical_replication_slot($1, $2)`, template, migrations.Slot); err != nil {
		return r, err
	}
	p, err := begin()
	if err != nil {
		return r, err
	}
	err = await(ctx, "all rows are in JetStream", func() (bool, error) { n, err := b.streamed(ctx); return n >= rows, err })
	r = p.finish(rows)
	if ended := p.stop(); err == nil {
		err = ended
	}
	if err != nil {
		return r, err
	}
	if err := b.awaitIdle(ctx, migrations.Slot); err != nil {
		return r, err
	}
	return r, b.exec(ctx, `SELECT pg_drop_replication_slot($1)`, migrations.Slot)
}
