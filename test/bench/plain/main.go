// Command plain is the yardstick for the worker: the least that a careful
// consumer does. It fetches 500 messages at a time, tells duplicates by one
// INSERT ... ON CONFLICT of their ids, commits, and acknowledges. It reads no
// message, checks nothing and keeps nothing else.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const sqlInsert = `
INSERT INTO bench.inbox (consumer, event_id) SELECT 'plain', id FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING RETURNING event_id`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	consumer, err := js.Consumer(ctx, transport.Interactions, os.Getenv("DURABLE"))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		if err := take(ctx, pool, batch); err != nil {
			return err
		}
	}
	return nil
}

func take(ctx context.Context, pool *pgxpool.Pool, batch jetstream.MessageBatch) error {
	var messages []jetstream.Msg
	var ids []string
	for msg := range batch.Messages() {
		messages, ids = append(messages, msg), append(ids, msg.Headers().Get(nats.MsgIdHdr))
	}
	if len(ids) == 0 {
		return batch.Error()
	}
	if _, err := pool.Exec(ctx, sqlInsert, ids); err != nil {
		return err
	}
	for _, msg := range messages {
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return batch.Error()
}
