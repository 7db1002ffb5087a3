package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The message, as a struct per part.
type message struct {
	Record   record   `json:"record"`
	Changes  any      `json:"changes"`
	Action   string   `json:"action"`
	Metadata metadata `json:"metadata"`
}

type record struct {
	TenantID         *string         `json:"tenant_id"`
	RecordedOn       *string         `json:"recorded_on"`
	EventID          *string         `json:"event_id"`
	Ecosystem        *string         `json:"ecosystem"`
	EventType        *string         `json:"event_type"`
	Version          json.RawMessage `json:"version"`
	OccurredAt       time.Time       `json:"occurred_at"`
	RecordedAt       time.Time       `json:"recorded_at"`
	AggregateType    *string         `json:"aggregate_type"`
	AggregateID      *string         `json:"aggregate_id"`
	AggregateVersion json.RawMessage `json:"aggregate_version"`
	IdempotencyKey   *string         `json:"idempotency_key"`
	CorrelationID    *string         `json:"correlation_id"`
	Traceparent      *string         `json:"traceparent"`
	Source           *string         `json:"source"`
	Subject          json.RawMessage `json:"subject"`
	Payload          json.RawMessage `json:"payload"`
}

type metadata struct {
	TableSchema            string    `json:"table_schema"`
	TableName              string    `json:"table_name"`
	CommitTimestamp        time.Time `json:"commit_timestamp"`
	CommitLSN              uint64    `json:"commit_lsn"`
	CommitIdx              int       `json:"commit_idx"`
	DatabaseName           string    `json:"database_name"`
	TransactionAnnotations any       `json:"transaction_annotations"`
	IdempotencyKey         string    `json:"idempotency_key"`
	RecordPKs              []string  `json:"record_pks"`
	Enrichment             any       `json:"enrichment"`
	Consumer               entity    `json:"consumer"`
	Database               entity    `json:"database"`
}

type entity struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations"`
	Database    string            `json:"database,omitempty"`
	Hostname    string            `json:"hostname,omitempty"`
}

// done is a message whose PubAck is awaited, or a position behind it.
type done struct {
	future jetstream.PubAckFuture
	lsn    pglogrepl.LSN
}

func lib(ctx context.Context, nc *nats.Conn, slot string, rows int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return err
	}
	conn, err := connect(ctx, slot)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	waiting := make(chan done, 1<<15)
	var confirmed atomic.Uint64
	ended := make(chan error, 1)
	go func() { ended <- confirm(ctx, waiting, &confirmed, rows) }()
	streamed := make(chan error, 1)
	go func() { streamed <- stream(ctx, conn, js, waiting, &confirmed) }()
	select {
	case err = <-ended:
		cancel()
		<-streamed
		return err
	case err = <-streamed:
		return err
	}
}

func connect(ctx context.Context, slot string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return conn, pglogrepl.StartReplication(ctx, conn, slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names 'runtime_outbox_pub'", "messages 'true'"},
	})
}

// confirm follows the PubAcks in order.
func confirm(ctx context.Context, waiting <-chan done, confirmed *atomic.Uint64, rows int64) error {
	for n := int64(0); rows == 0 || n < rows; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-waiting:
			if d.future == nil {
				confirmed.Store(uint64(d.lsn))
				continue
			}
			select {
			case <-d.future.Ok():
				n++
			case err := <-d.future.Err():
				return err
			}
		}
	}
	return nil
}

func stream(ctx context.Context, conn *pgconn.PgConn, js jetstream.JetStream, waiting chan<- done, confirmed *atomic.Uint64) error {
	var m message
	next := time.Now()
	for idx := 0; ; {
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
		xlog, err := pglogrepl.ParseXLogData(data.Data[1:])
		if err != nil {
			return err
		}
		decoded, err := pglogrepl.Parse(xlog.WALData)
		if err != nil {
			return err
		}
		switch d := decoded.(type) {
		case *pglogrepl.BeginMessage:
			idx = 0
			m = head(d)
		case *pglogrepl.CommitMessage:
			waiting <- done{lsn: d.TransactionEndLSN}
		case *pglogrepl.InsertMessage:
			future, err := publish(js, &m, d.Tuple.Columns, idx)
			if err != nil {
				return err
			}
			waiting <- done{future: future}
			idx++
		}
	}
}

func head(b *pglogrepl.BeginMessage) message {
	return message{Action: "insert", Metadata: metadata{
		TableSchema: "event_runtime", TableName: "outbox", CommitTimestamp: b.CommitTime, CommitLSN: uint64(b.FinalLSN), DatabaseName: "runtime",
		Consumer: entity{ID: "8c2f7d0e-0000-5000-8000-000000000001", Name: "outbox-nats", Annotations: map[string]string{}},
		Database: entity{ID: "8c2f7d0e-0000-5000-8000-000000000002", Name: "runtime", Annotations: map[string]string{}, Database: "runtime", Hostname: "localhost"},
	}}
}

func publish(js jetstream.JetStream, m *message, row []*pglogrepl.TupleDataColumn, idx int) (jetstream.PubAckFuture, error) {
	text := func(i int) *string {
		if row[i].DataType != pglogrepl.TupleDataTypeText {
			return nil
		}
		s := string(row[i].Data)
		return &s
	}
	raw := func(i int) json.RawMessage {
		if row[i].DataType != pglogrepl.TupleDataTypeText {
			return json.RawMessage("null")
		}
		return row[i].Data
	}
	at := func(i int) time.Time {
		t, _ := time.Parse("2006-01-02 15:04:05.999999-07", string(row[i].Data))
		return t.UTC()
	}
	m.Record = record{
		text(0), text(1), text(2), text(3), text(4), raw(5), at(6), at(7), text(8), text(9), raw(10), text(11), text(12), text(13), text(14), raw(15), raw(16),
	}
	m.Metadata.CommitIdx = idx
	m.Metadata.IdempotencyKey = base64.StdEncoding.EncodeToString([]byte(strconv.FormatUint(m.Metadata.CommitLSN, 10) + ":" + strconv.Itoa(idx)))
	m.Metadata.RecordPKs = []string{*m.Record.TenantID, *m.Record.RecordedOn, *m.Record.EventID}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	msg := nats.NewMsg(event.Subject(*m.Record.TenantID, *m.Record.Ecosystem, *m.Record.EventType))
	msg.Data = body
	msg.Header.Set("Nats-Msg-Id", *m.Record.EventID)
	if trace := m.Record.Traceparent; trace != nil {
		msg.Header.Set("traceparent", strings.ToLower(*trace))
	}
	return js.PublishMsgAsync(msg, jetstream.WithStallWait(30*time.Second))
}
