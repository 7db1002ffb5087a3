// Command lib is the yardstick for the relay: what a careful program does with
// libraries. pglogrepl decodes, encoding/json makes a small envelope of seven
// fields, jetstream.PublishMsgAsync publishes with a window of 4096 and a
// Nats-Msg-Id; the slot is confirmed behind the PubAcks. It knows nothing of
// tables but one, of routing, of poison, or of coming back.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Columns of event_runtime.outbox, by position.
const (
	tenant, eventID, ecosystem, eventType, occurredAt, traceparent, payload = 0, 2, 3, 4, 6, 13, 16
)

type envelope struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Tenant      string          `json:"tenant"`
	Ecosystem   string          `json:"ecosystem"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Traceparent string          `json:"traceparent"`
	Data        json.RawMessage `json:"data"`
}

// pending is a message whose PubAck is awaited, or the end of a transaction.
type pending struct {
	ack jetstream.PubAckFuture
	end pglogrepl.LSN
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "lib:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return err
	}
	cfg, err := pgconn.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := pglogrepl.StartReplication(ctx, conn, os.Getenv("SLOT"), 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names 'runtime_outbox_pub'"},
	}); err != nil {
		return err
	}
	var confirmed atomic.Uint64
	waiting := make(chan pending, 1<<16)
	failed := make(chan error, 1)
	go func() { failed <- follow(ctx, waiting, &confirmed) }()
	return stream(ctx, conn, js, waiting, failed, &confirmed)
}

// follow moves the confirmed position behind the PubAcks.
func follow(ctx context.Context, waiting <-chan pending, confirmed *atomic.Uint64) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-waiting:
			if p.ack == nil {
				confirmed.Store(uint64(p.end))
				continue
			}
			select {
			case <-p.ack.Ok():
			case err := <-p.ack.Err():
				return err
			}
		}
	}
}

func stream(ctx context.Context, conn *pgconn.PgConn, js jetstream.JetStream, waiting chan<- pending, failed <-chan error, confirmed *atomic.Uint64) error {
	for next := time.Now(); ; {
		select {
		case err := <-failed:
			return err
		default:
		}
		if time.Now().After(next) {
			if err := pglogrepl.SendStandbyStatusUpdate(ctx, conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: pglogrepl.LSN(confirmed.Load())}); err != nil {
				return err
			}
			next = time.Now().Add(200 * time.Millisecond)
		}
		within, cancel := context.WithDeadline(ctx, next)
		raw, err := conn.ReceiveMessage(within)
		cancel()
		if pgconn.Timeout(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return err
		}
		data, ok := raw.(*pgproto3.CopyData)
		if !ok || data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		if err := change(js, data.Data[1:], waiting); err != nil {
			return err
		}
	}
}

func change(js jetstream.JetStream, data []byte, waiting chan<- pending) error {
	xlog, err := pglogrepl.ParseXLogData(data)
	if err != nil {
		return err
	}
	decoded, err := pglogrepl.Parse(xlog.WALData)
	if err != nil {
		return err
	}
	switch d := decoded.(type) {
	case *pglogrepl.CommitMessage:
		waiting <- pending{end: d.TransactionEndLSN}
	case *pglogrepl.InsertMessage:
		c := d.Tuple.Columns
		text := func(i int) string { return string(c[i].Data) }
		body, err := json.Marshal(envelope{SpecVersion: "1.0", ID: text(eventID), Tenant: text(tenant), Ecosystem: text(ecosystem), Type: text(eventType),
			Time: text(occurredAt), Traceparent: text(traceparent), Data: c[payload].Data})
		if err != nil {
			return err
		}
		ack, err := js.PublishMsgAsync(&nats.Msg{Subject: "interactions.bench.ofb", Data: body, Header: nats.Header{"Nats-Msg-Id": {text(eventID)}}},
			jetstream.WithStallWait(30*time.Second))
		if err != nil {
			return err
		}
		waiting <- pending{ack: ack}
	}
	return nil
}
