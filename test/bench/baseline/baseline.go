// Package baseline relays an outbox to JetStream as a careful program does with
// libraries only: pglogrepl, encoding/json and jetstream.PublishMsgAsync. The
// relay is measured beside it, on the same rows.
//
// Promise: the slot is confirmed only behind PubAcks, and each message has the
//
//	event's id as Nats-Msg-Id: the same guarantee as the relay's, so that what is
//	compared is work and not caution. The body is a light envelope, not Sequin's.
//
// State:   the replication slot.
// Failure: the first one ends Run; nothing is tried twice.
package baseline

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Config says where from and where to.
type Config struct {
	DatabaseURL string // of a role that may replicate and read the outbox
	NATSURL     string
	Slot        string // of plugin pgoutput, and held by nobody
	Publication string // of event_runtime.outbox
	Subject     string // of every message, as interactions.acme-bank.ofb; a stream must take it
	Rows        int64  // ends after so many PubAcks; 0: when ctx ends
}

// Window is how many messages may be without a PubAck: the relay's default.
const Window = 4096

// statusEvery is how often the slot is confirmed, as often as the relay does it.
const statusEvery = 200 * time.Millisecond

// Run relays until cfg.Rows messages are stored, and then returns nil. It fails
// with what Postgres or NATS said, and when ctx ends.
func Run(ctx context.Context, cfg Config) error {
	nc, err := nats.Connect(cfg.NATSURL)
	if err != nil {
		return fmt.Errorf("connect to nats at %s: %w", cfg.NATSURL, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(Window))
	if err != nil {
		return err
	}
	conn, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return relay(ctx, conn, js, cfg)
}

func connect(ctx context.Context, cfg Config) (*pgconn.PgConn, error) {
	to, err := pgconn.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	to.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, to)
	if err != nil {
		return nil, err
	}
	err = pglogrepl.StartReplication(ctx, conn, cfg.Slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", cfg.Publication)},
	})
	if err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("start replication from slot %s: %w", cfg.Slot, err)
	}
	return conn, nil
}

// relay has one goroutine that reads and publishes, and one that follows the
// PubAcks. The latter ends both.
func relay(ctx context.Context, conn *pgconn.PgConn, js jetstream.JetStream, cfg Config) error {
	group, work := errgroup.WithContext(ctx)
	reading, stop := context.WithCancel(work)
	acks := &acks{waiting: make(chan waiting, 1<<16)}
	group.Go(func() error {
		defer stop()
		return acks.follow(work, cfg.Rows)
	})
	group.Go(func() error {
		err := (&reader{conn: conn, js: js, cfg: cfg, acks: acks}).run(reading)
		if reading.Err() != nil && work.Err() == nil {
			return nil // enough rows are stored
		}
		return err
	})
	return group.Wait()
}
