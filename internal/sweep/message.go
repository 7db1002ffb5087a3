package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// The whole row as Postgres prints it, which is what the relay gets too, and the
// types that its printing depends on. A test holds the columns against the table.
const sqlRows = `
SELECT o.tenant_id, o.recorded_on, o.event_id, o.recorded_at,
       array[o.tenant_id::text, o.recorded_on::text, o.event_id::text, o.ecosystem::text, o.event_type::text, o.version::text, o.occurred_at::text, o.recorded_at::text,
             o.aggregate_type::text, o.aggregate_id::text, o.aggregate_version::text, o.idempotency_key::text, o.correlation_id::text, o.traceparent::text, o.source::text,
             o.subject::text, o.payload::text]
  FROM unnest(@tenants::text[], @days::date[], @ids::uuid[]) AS w(tenant_id, recorded_on, event_id)
  JOIN event_runtime.outbox o ON o.tenant_id = w.tenant_id AND o.recorded_on = w.recorded_on AND o.event_id = w.event_id`

// column is one of the outbox, its type by the object id that every Postgres has.
type column struct {
	name string
	oid  uint32
}

func columns() []column {
	const text, date, id, integer, bigint, moment, json = 25, 1082, 2950, 23, 20, 1184, 3802
	return []column{{"tenant_id", text}, {"recorded_on", date}, {"event_id", id}, {"ecosystem", text}, {"event_type", text}, {"version", integer},
		{"occurred_at", moment}, {"recorded_at", moment}, {"aggregate_type", text}, {"aggregate_id", text}, {"aggregate_version", bigint},
		{"idempotency_key", text}, {"correlation_id", text}, {"traceparent", text}, {"source", text}, {"subject", json}, {"payload", json}}
}

// keyColumns come first.
const keyColumns = 3

// row is one row of the outbox, printed.
type row struct {
	Key
	recordedAt time.Time
	printed    []*string
}

// rows reads the rows of keys.
func (s *Sweeper) rows(ctx context.Context, keys []Key) ([]row, error) {
	tenants, days, ids := columnsOf(keys)
	found, err := s.Pool.Query(ctx, sqlRows, pgx.NamedArgs{"tenants": tenants, "days": days, "ids": ids})
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	all, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (o row, err error) {
		return o, r.Scan(&o.Tenant, &o.Day, &o.ID, &o.recordedAt, &o.printed)
	})
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return all, nil
}

// encoder makes of a row the message that the relay makes of it. Positions in the
// log differ: a sweep has none.
type encoder struct {
	table *message.Table
	route route.Router
}

// sweeperID names the sweeper where a relay names its sink.
var sweeperID = uuid.MustParse("0b1f6f0c-6a0e-5d0b-8f55-2f5c3b1a9d21").String()

func newEncoder() *encoder {
	var all []message.Column
	var names []string
	for i, c := range columns() {
		all = append(all, message.Column{Name: c.name, Encode: message.EncoderOf(message.Type{OID: c.oid}), Key: i < keyColumns})
		names = append(names, c.name)
	}
	self := message.Entity{ID: sweeperID, Name: "sweeper"}
	outbox, _ := route.Lookup("outbox-subject")
	return &encoder{table: message.NewTable("event_runtime", "outbox", all, self, message.Source{Entity: self}), route: outbox(names)}
}

// epoch is where Postgres counts from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *encoder) message(r row) *nats.Msg {
	values := make([]pgoutput.Value, len(r.printed))
	for i, text := range r.printed {
		values[i] = pgoutput.Value{Kind: pgoutput.Null}
		if text != nil {
			values[i] = pgoutput.Value{Kind: pgoutput.Text, Data: []byte(*text)}
		}
	}
	var to route.Routed
	e.route(&to, route.Row{Values: values})
	msg := nats.NewMsg(string(to.Subject))
	msg.Header.Set(nats.MsgIdHdr, string(to.MsgID))
	if len(to.Traceparent) > 0 {
		msg.Header["traceparent"] = []string{string(to.Traceparent)}
	}
	msg.Data = e.table.AppendInsert(nil, &message.Transaction{Time: r.recordedAt.Sub(epoch).Microseconds()}, 0, values)
	return msg
}

// streamOf says which stream keeps the messages of an event.
func streamOf(r row) string {
	const eventType = 4
	return transport.Entitlement{Family: event.Family(*r.printed[eventType])}.Stream()
}
