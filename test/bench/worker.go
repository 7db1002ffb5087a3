package main

import (
	"context"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
)

// workerPart gives both workers a stream that is full already. The lanes are
// held: what is measured is pulling, classifying and writing.
func workerPart(ctx context.Context, b *bed, o options) error {
	if _, err := migrations.EnsureSlot(ctx, b.url(database, ""), migrations.Slot); err != nil {
		return err
	}
	regulator, env, err := b.regulator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = regulator.stop() }()
	for _, sql := range []string{`UPDATE event_runtime.tenant_config SET paused = true`, `CREATE SCHEMA bench`} {
		if err := b.exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := fillStreams(ctx, b, o.rows); err != nil {
		return err
	}
	runs, err := alternate(o.rounds, [2]func() (sample, error){
		func() (sample, error) {
			return consume(ctx, b, o.rows, transport.PCMOFB, func() (*program, error) { return b.serve(env...) })
		},
		func() (sample, error) {
			return consume(ctx, b, o.rows, "plain", func() (*program, error) {
				return b.start("plain", b.plain, []string{"DATABASE_URL=" + b.url(database, ""), "NATS_URL=" + b.brokerURL, "DURABLE=plain"})
			})
		},
	})
	if err != nil {
		return err
	}
	compare("worker: from JetStream to durable rows", [2]string{"serve", "plain"}, runs)
	return nil
}

func fillStreams(ctx context.Context, b *bed, rows int) error {
	if err := b.produce(ctx, rows); err != nil {
		return err
	}
	p, err := b.relay()
	if err != nil {
		return err
	}
	if err := await(ctx, "all rows are in JetStream", func() (bool, error) { n, err := b.streamed(ctx); return n >= rows, err }); err != nil {
		return err
	}
	return p.stop()
}

const sqlForget = `
TRUNCATE event_runtime.consumer_idempotency, event_runtime.lane_chunks, event_runtime.books, event_runtime.lanes CASCADE`

// consume lets a worker begin with nothing behind it, and waits until the last
// message is acknowledged.
func consume(ctx context.Context, b *bed, rows int, durable string, begin func() (*program, error)) (r sample, err error) {
	if err := b.exec(ctx, sqlForget); err != nil {
		return r, err
	}
	if err := b.exec(ctx, `DROP TABLE IF EXISTS bench.inbox`); err != nil {
		return r, err
	}
	if err := b.exec(ctx, `CREATE TABLE bench.inbox (consumer text, event_id uuid, received_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (consumer, event_id))`); err != nil {
		return r, err
	}
	cfg := transport.Durables(1)[0].Config
	cfg.Durable, cfg.Name = durable, durable
	_ = b.js.DeleteConsumer(ctx, transport.Interactions, durable)
	if _, err := b.js.CreateConsumer(ctx, transport.Interactions, cfg); err != nil {
		return r, err
	}
	p, err := begin()
	if err != nil {
		return r, err
	}
	err = await(ctx, "all messages are acknowledged", func() (bool, error) {
		c, err := b.js.Consumer(ctx, transport.Interactions, durable)
		if err != nil {
			return false, err
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0 && info.AckFloor.Stream > 0, nil
	})
	r = p.finish(rows)
	if ended := p.stop(); err == nil {
		err = ended
	}
	return r, err
}
