package baseline

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// envelope is the body of a message: seven columns of the row.
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

// reader turns the stream of the slot into messages.
type reader struct {
	conn *pgconn.PgConn
	js   jetstream.JetStream
	cfg  Config
	acks *acks

	columns map[string]int // by name, of the one table there is
}

func (r *reader) run(ctx context.Context) error {
	for next := time.Now(); ; {
		if time.Now().After(next) {
			if err := r.confirm(ctx); err != nil {
				return err
			}
			next = time.Now().Add(statusEvery)
		}
		within, cancel := context.WithDeadline(ctx, next)
		msg, err := r.conn.ReceiveMessage(within)
		cancel()
		switch {
		case pgconn.Timeout(err) && ctx.Err() == nil:
			continue
		case err != nil:
			return fmt.Errorf("read the stream: %w", err)
		}
		data, ok := msg.(*pgproto3.CopyData)
		if !ok || data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		if err := r.change(ctx, data.Data[1:]); err != nil {
			return err
		}
	}
}

func (r *reader) confirm(ctx context.Context) error {
	at := pglogrepl.LSN(r.acks.confirmed.Load())
	return pglogrepl.SendStandbyStatusUpdate(ctx, r.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: at})
}

func (r *reader) change(ctx context.Context, data []byte) error {
	xlog, err := pglogrepl.ParseXLogData(data)
	if err != nil {
		return err
	}
	msg, err := pglogrepl.ParseV2(xlog.WALData, false)
	if err != nil {
		return err
	}
	switch m := msg.(type) {
	case *pglogrepl.RelationMessageV2:
		r.columns = map[string]int{}
		for i, c := range m.Columns {
			r.columns[c.Name] = i
		}
	case *pglogrepl.CommitMessage:
		return r.follow(ctx, waiting{end: m.TransactionEndLSN})
	case *pglogrepl.InsertMessageV2:
		future, err := r.publish(m.Tuple.Columns)
		if err != nil {
			return err
		}
		return r.follow(ctx, waiting{future: future})
	}
	return nil
}

func (r *reader) follow(ctx context.Context, w waiting) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r.acks.waiting <- w:
		return nil
	}
}

func (r *reader) publish(row []*pglogrepl.TupleDataColumn) (jetstream.PubAckFuture, error) {
	text := func(column string) []byte { return row[r.columns[column]].Data }
	id := string(text("event_id"))
	body, err := json.Marshal(envelope{
		SpecVersion: "1.0", ID: id, Tenant: string(text("tenant_id")), Ecosystem: string(text("ecosystem")), Type: string(text("event_type")),
		Time: string(text("occurred_at")), Traceparent: string(text("traceparent")), Data: text("payload"),
	})
	if err != nil {
		return nil, fmt.Errorf("marshal event %s: %w", id, err)
	}
	msg := &nats.Msg{Subject: r.cfg.Subject, Data: body, Header: nats.Header{nats.MsgIdHdr: []string{id}}}
	return r.js.PublishMsgAsync(msg, jetstream.WithStallWait(30*time.Second))
}
