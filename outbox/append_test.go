package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// plain is an event with what it must have, and no more.
func plain() Event {
	return Event{TenantID: "acme-bank", Ecosystem: "ofb", Type: "consent.advanced", Payload: map[string]any{"state": "AUTHORISED"}}
}

// with is plain after one change.
func with(change func(*Event)) Event {
	e := plain()
	change(&e)
	return e
}

// bank is a producer's database: a business table beside the outbox.
type bank struct {
	*testenv.DB
	t        *testing.T
	producer *pgxpool.Pool
	worker   *pgxpool.Pool
}

func newBank(t *testing.T) *bank {
	t.Helper()
	db := testenv.Postgres(t)
	db.Exec(`CREATE TABLE public.consents (id text PRIMARY KEY); GRANT SELECT, INSERT ON public.consents TO runtime_producer`)
	return &bank{db, t, db.Pool("runtime_producer"), db.Pool("runtime_worker")}
}

// in runs f in a transaction of the producer's.
func (b *bank) in(f func(pgx.Tx) error) error {
	return pgx.BeginFunc(b.t.Context(), b.producer, f)
}

// append is one event in a transaction of its own.
func (b *bank) append(e Event) (id string, err error) {
	err = b.in(func(tx pgx.Tx) error {
		ids, err := Append(b.t.Context(), tx, e)
		if err == nil {
			id = ids[0]
		}
		return err
	})
	return id, err
}

func (b *bank) count(sql string, args ...any) (n int) {
	b.t.Helper()
	if err := b.worker.QueryRow(b.t.Context(), sql, args...).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bank) outbox() int { return b.count(`SELECT count(*) FROM event_runtime.outbox`) }

// The event exists if and only if the business change does.
func TestAppendIsInTheCallersTransaction(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	change := func(id string, then error) error {
		return b.in(func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `INSERT INTO public.consents VALUES ($1)`, id); err != nil {
				return err
			}
			if _, err := Append(t.Context(), tx, plain()); err != nil {
				return err
			}
			if got := b.outbox(); got > 1 {
				t.Errorf("%s: others see %d events before the commit", id, got)
			}
			return then
		})
	}
	if err := change("kept", nil); err != nil {
		t.Fatal(err)
	}
	if got := b.outbox(); got != 1 {
		t.Errorf("committed: got %d events, want 1", got)
	}
	changedMind := errors.New("changed mind")
	if err := change("dropped", changedMind); !errors.Is(err, changedMind) {
		t.Fatal(err)
	}
	if err := change("kept", nil); err == nil {
		t.Fatal("got a consent twice")
	}
	if got := b.outbox(); got != 1 {
		t.Errorf("rolled back: got %d events, want none more", got)
	}
}

func TestAppendKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	version, at := int64(9007199254740992), time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.FixedZone("", -3*60*60))
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	full := Event{ID: NewID(), TenantID: "acme-bank", Ecosystem: "ofb", Type: "consent.advanced", Version: 1, OccurredAt: at, AggregateType: "consent", AggregateID: "urn:bank:1",
		AggregateVersion: &version, IdempotencyKey: "k-1", CorrelationID: "c-1", Traceparent: trace, Source: "consent-api",
		Subject: map[string]string{"profile_id": "p-1", "external_id": "'); DROP TABLE event_runtime.outbox; --"}, Payload: json.RawMessage(`{"previousState":"A","state":"B"}`)}
	id, err := b.append(full)
	if err != nil || id != full.ID {
		t.Fatalf("got id %s, %v, want %s", id, err, full.ID)
	}
	want := `{"source": "consent-api", "payload": {"state": "B", "previousState": "A"}, "subject": {"profile_id": "p-1", "external_id": "'); DROP TABLE event_runtime.outbox; --"}, ` +
		`"version": 1, "ecosystem": "ofb", "tenant_id": "acme-bank", "event_type": "consent.advanced", "occurred_at": "2026-01-02T06:04:05.678901+00:00", "traceparent": "` + trace + `", ` +
		`"aggregate_id": "urn:bank:1", "aggregate_type": "consent", "correlation_id": "c-1", "idempotency_key": "k-1", "aggregate_version": 9007199254740992}`
	if got := b.row(id); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	least, err := b.append(plain())
	if err != nil {
		t.Fatal(err)
	}
	if got := b.count(`SELECT count(*) FROM event_runtime.outbox WHERE event_id = $1 AND recorded_on = event_runtime.event_day(event_id) AND version = 1
		AND occurred_at BETWEEN now() - interval '1 minute' AND now() + interval '1 minute' AND num_nulls(aggregate_type, aggregate_id, aggregate_version, idempotency_key, correlation_id, traceparent, source, subject) = 8`, least); got != 1 {
		t.Errorf("got %d rows with the defaults of what was left out, want 1", got)
	}
}

// row is an event as it is stored, without its id and when.
func (b *bank) row(id string) (row string) {
	b.t.Helper()
	err := b.worker.QueryRow(b.t.Context(), `SELECT (to_jsonb(o) - 'event_id' - 'recorded_on' - 'recorded_at')::text FROM event_runtime.outbox o WHERE event_id = $1`, id).Scan(&row)
	if err != nil {
		b.t.Fatal(err)
	}
	return row
}

// Any number of events is one round trip, and either all of them are there or
// none is.
func TestBatches(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	trips := &tracer{}
	cfg, err := pgx.ParseConfig(b.URL("runtime_producer"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tracer = trips
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	events := slices.Repeat([]Event{plain()}, 1000)
	for n := range events {
		events[n].AggregateVersion = new(int64)
		*events[n].AggregateVersion = int64(n)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := trips.n.Load()
	ids, err := Append(t.Context(), tx, events...)
	if err != nil {
		t.Fatal(err)
	}
	if got := trips.n.Load() - before; got != 1 {
		t.Errorf("got %d statements, want 1", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.count(`SELECT count(*) FROM unnest($1::uuid[]) WITH ORDINALITY i(id, n) JOIN event_runtime.outbox o ON o.event_id = i.id AND o.aggregate_version = i.n - 1`, ids); got != 1000 {
		t.Errorf("got %d ids at their events' places, want 1000", got)
	}

	events = slices.Repeat([]Event{plain()}, 5)
	events[3].TenantID = "Not A Slug"
	var invalid *InvalidError
	err = b.in(func(tx pgx.Tx) error { _, err := Append(t.Context(), tx, events...); return err })
	if !errors.As(err, &invalid) || invalid.Index != 3 || invalid.Field != "tenant_id" {
		t.Errorf("got %v, want event 3 named", err)
	}
	if ids, err := Append(t.Context(), nil); ids != nil || err != nil {
		t.Errorf("of nothing: got %v, %v, want nothing", ids, err)
	}
	if got := b.outbox(); got != 1000 {
		t.Errorf("got %d events, want none of a call with a bad one", got)
	}
}

type tracer struct{ n atomic.Int64 }

func (q *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n.Add(1)
	return ctx
}

func (q *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The caller's bytes stay as they are: the outbox keeps another spelling of them.
func TestTheCallersBytesStay(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	for name, give := range map[string]func([]byte) any{
		"bytes": func(p []byte) any { return p }, "a raw message": func(p []byte) any { return json.RawMessage(p) },
	} {
		const text = `{ "state" : "B" , "previousState" : "A" }`
		given := []byte(text)
		if _, err := b.append(with(func(e *Event) { e.Payload, e.Subject = give(given), give(given) })); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if string(given) != text {
			t.Errorf("%s: got %s, want it as it was given", name, given)
		}
	}
}

// A refused event costs the caller nothing: the transaction goes on.
func TestARefusalLeavesTheTransactionUsable(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	err := b.in(func(tx pgx.Tx) error {
		if _, err := Append(t.Context(), tx, with(func(e *Event) { e.Type = "Consent" })); err == nil {
			t.Error("got a type in capitals taken")
		}
		_, err := Append(t.Context(), tx, plain())
		return err
	})
	if err != nil || b.outbox() != 1 {
		t.Errorf("got %v and %d events, want the good one", err, b.outbox())
	}
}

// A producer may append, and nothing else.
func TestAProducerMayOnlyAppend(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	id, err := b.append(plain())
	if err != nil {
		t.Fatal(err)
	}
	for name, sql := range map[string]string{
		"insert":   `INSERT INTO event_runtime.outbox SELECT * FROM event_runtime.outbox`,
		"select":   `SELECT * FROM event_runtime.outbox`,
		"update":   `UPDATE event_runtime.outbox SET source = 'x'`,
		"delete":   `DELETE FROM event_runtime.outbox`,
		"truncate": `TRUNCATE event_runtime.outbox`,
	} {
		var refused *pgconn.PgError
		if _, err := b.producer.Exec(t.Context(), sql); !errors.As(err, &refused) || refused.Code != "42501" {
			t.Errorf("%s: got %v, want no permission", name, err)
		}
	}
	again := with(func(e *Event) { e.ID = id })
	if _, err := b.append(again); err == nil || !strings.Contains(err.Error(), "23505") {
		t.Errorf("the same id again: got %v, want a unique violation", err)
	}
}
