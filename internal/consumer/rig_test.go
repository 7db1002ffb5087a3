package consumer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	acme   = "acme-bank"
	globex = "globex"

	ourOrg   = "082ff90b-9d65-46bb-b123-b88eb47fd61c"
	otherOrg = "b8e34d5a-2ed5-451e-8ddb-45a1edc76243"
)

const seedTenants = `
INSERT INTO event_runtime.tenants (tenant_id, name, state) VALUES
  ('acme-bank', 'Acme', 'active'), ('globex', 'Globex', 'active'), ('idle-bank', 'Idle', 'paused'), ('closed-bank', 'Closed', 'disabled')`

const seedOrganisations = `
INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id)
SELECT t, 'ofb', '082ff90b-9d65-46bb-b123-b88eb47fd61c', '082ff90b-9d65-46bb-b123-b88eb47fd61c' FROM unnest(array['acme-bank', 'globex', 'idle-bank', 'closed-bank']) AS t`

const seedRule = `
INSERT INTO event_runtime.eligibility_rules (tenant_id, ecosystem, endpoint, reason) VALUES ('acme-bank', 'ofb', '/open-banking/consents/v3/consents', 'pilot_only')`

// draft is an outbox row on its way, and how it is published.
type draft struct {
	id      event.ID
	record  map[string]any
	payload map[string]any
	subject string
	msgID   string
	headers map[string]string
	body    []byte // instead of the record
}

// with is one change of a draft.
type with func(*draft)

func newDraft(changes ...with) *draft {
	d := &draft{id: event.NewID(time.Now()), subject: "interactions." + acme + ".ofb"}
	d.payload = map[string]any{"role": "CLIENT", "fapiInteractionId": uuid.NewString(), "endpoint": "/open-banking/accounts/v2/accounts", "httpMethod": "GET", "statusCode": 200,
		"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "processTimespan": 120.5, "clientOrgId": ourOrg, "serverOrgId": otherOrg,
		"clientSSId": "f0b5419b-2b5f-4f59-9862-6d2a8e23be26", "endpointUriPrefix": "https://ofin.bank.com", "additionalInfo": map[string]any{"personType": "PF"}}
	d.record = map[string]any{"tenant_id": acme, "ecosystem": "ofb", "event_type": event.InteractionCompleted, "version": 1,
		"occurred_at": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), "recorded_at": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
		"aggregate_type": nil, "aggregate_id": nil, "aggregate_version": nil, "idempotency_key": nil, "correlation_id": nil, "traceparent": nil,
		"source": "gateway", "subject": nil}
	for _, change := range changes {
		change(d)
	}
	if d.record["event_id"] == nil {
		d.record["event_id"], d.record["recorded_on"] = d.id.String(), d.id.Day().Format(time.DateOnly)
	}
	if d.msgID == "" {
		d.msgID = d.id.String()
	}
	return d
}

// again is the same event on another message.
func (d *draft) again(changes ...with) *draft {
	c := &draft{id: d.id, subject: d.subject, msgID: uuid.NewString(), record: maps.Clone(d.record), payload: maps.Clone(d.payload), body: d.body}
	for _, change := range changes {
		change(c)
	}
	return c
}

func column(name string, value any) with { return func(d *draft) { d.record[name] = value } }

func field(name string, value any) with {
	return func(d *draft) {
		if d.payload[name] = value; value == nil {
			delete(d.payload, name)
		}
	}
}

func on(subject string) with   { return func(d *draft) { d.subject = subject } }
func at(when time.Time) with   { return func(d *draft) { d.id = event.NewID(when) } }
func bytesOf(body string) with { return func(d *draft) { d.body = []byte(body) } }
func header(msgID string) with { return func(d *draft) { d.msgID = msgID } }
func carrying(name, value string) with {
	return func(d *draft) { d.headers = map[string]string{name: value} }
}
func of(tenant string) with {
	return both(column("tenant_id", tenant), on("interactions."+tenant+".ofb"))
}
func interaction(id string) with { return field("fapiInteractionId", id) }

func both(changes ...with) with {
	return func(d *draft) {
		for _, change := range changes {
			change(d)
		}
	}
}

// typed is a semantic event, which travels on the other stream.
func typed(eventType string, payload map[string]any) with {
	return func(d *draft) {
		d.record["event_type"], d.payload = eventType, payload
		d.subject = event.Subject(d.record["tenant_id"].(string), "ofb", eventType)
	}
}

// bytes is the message, in the order of keys that encoding/json gives it.
func (d *draft) bytes() []byte {
	if d.body != nil {
		return d.body
	}
	record := maps.Clone(d.record)
	record["payload"] = d.payload
	body, err := json.Marshal(map[string]any{"record": record, "action": "insert", "changes": nil,
		"metadata": map[string]any{"commit_lsn": 26600000, "commit_idx": 3, "table_name": "outbox"}})
	if err != nil {
		panic(err)
	}
	return body
}

// delivered is the message as a consumer sees it.
func (d *draft) delivered(times uint64) Message {
	return Message{Subject: d.subject, Body: d.bytes(), MsgID: d.msgID, Stream: transport.Interactions, Seq: 1, Delivered: times}
}

// rig is one stream, one database and the consumers between them.
type rig struct {
	t       *testing.T
	db      *testenv.DB
	pool    *pgxpool.Pool // as runtime_worker
	reader  *pgxpool.Pool // as runtime_readonly
	nats    *testenv.NATSServer
	js      jetstream.JetStream
	tenants *tenant.Directory
	logs    *lines
	log     zerolog.Logger
	report  submit.Reporter
	cfg     Config

	producer *pgxpool.Pool // as runtime_producer, once somebody appends
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, testenv.Postgres(t))
}

func newRigOn(t *testing.T, db *testenv.DB) *rig {
	t.Helper()
	r := newStore(t, db)
	r.nats = testenv.NATS(t)
	r.js = r.nats.JetStream()
	if err := transport.Provision(t.Context(), r.js, db.Pool("runtime_worker"), smallStreams, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	return r
}

var smallStreams = transport.Limits{Replicas: 1, InteractionsBytes: 256 << 20, EventsBytes: 256 << 20, DLQBytes: 64 << 20}

// newStore is a rig without streams.
func newStore(t *testing.T, db *testenv.DB) *rig {
	t.Helper()
	r := &rig{t: t, db: db, pool: db.Pool("runtime_worker"), reader: db.Pool("runtime_readonly"), logs: &lines{}, cfg: Config{BatchSize: 100, BatchWait: 2 * time.Millisecond, DrainFor: 5 * time.Second,
		SilentFor: time.Minute, AwayPause: 20 * time.Millisecond, NakWithin: time.Second}}
	r.log = telemetry.Logger(telemetry.LogConfig{Level: "debug"}, r.logs, "test")
	db.Exec(seedTenants)
	db.Exec(seedOrganisations)
	db.Exec(seedRule)
	var err error
	if r.tenants, err = tenant.Open(t.Context(), r.pool, r.log); err != nil {
		t.Fatal(err)
	}
	r.report = openFinance(t, r.tenants.Snapshot, r.log)
	return r
}

func openFinance(t *testing.T, tenants func() *tenant.Snapshot, log zerolog.Logger) submit.Reporter {
	t.Helper()
	a, err := ofb.New(ofb.Config{AuthURL: "https://auth.invalid", APIURL: "https://api.invalid"}, tenants, time.Now, log)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var catalog = sync.OnceValues(event.NewCatalog)

func (r *rig) known() Knowledge {
	c, err := catalog()
	if err != nil {
		r.t.Fatal(err)
	}
	return Knowledge{Catalog: c, Tenants: r.tenants.Snapshot(), Report: r.report}
}

// consumer builds one; nothing runs yet.
func (r *rig) consumer(stream string, js jetstream.JetStream) *Consumer {
	r.t.Helper()
	c, err := New(r.cfg, Deps{Name: transport.PCMOFB, Stream: stream, JS: js, Pool: r.pool, Catalog: r.known().Catalog, Tenants: r.tenants.Snapshot,
		Reporter: r.report, Now: time.Now, Log: r.log})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// start runs a consumer of both streams. The test ends it, or stop does.
func (r *rig) start() (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var group sync.WaitGroup
	for _, stream := range []string{transport.Interactions, transport.Events} {
		c := r.consumer(stream, r.js)
		group.Go(func() {
			if err := c.Run(ctx); err != nil {
				r.t.Errorf("consumer on %s ended: %v", stream, err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	r.t.Cleanup(stop)
	return stop
}

const sqlAppendDrafts = `
SELECT event_runtime.append_events($1::uuid[], $2::text[], array_fill('ofb'::text, n), $3::text[], $4::int[], array_fill(now(), n), array_fill(null::text, n),
       array_fill(null::text, n), array_fill(null::bigint, n), array_fill(null::text, n), array_fill(null::text, n), array_fill(null::text, n),
       array_fill('gateway'::text, n), array_fill(null::text, n), $5::text[])
  FROM (SELECT array[cardinality($1::uuid[])]) AS size(n)`

// append commits drafts to the outbox, as a producer that has only SQL would.
func (r *rig) append(drafts ...*draft) {
	r.t.Helper()
	if r.producer == nil {
		r.producer = r.db.Pool("runtime_producer")
	}
	var ids []event.ID
	var tenants, types, payloads []string
	var versions []int
	for _, d := range drafts {
		payload, err := json.Marshal(d.payload)
		if err != nil {
			r.t.Fatal(err)
		}
		ids, tenants, types = append(ids, d.id), append(tenants, d.record["tenant_id"].(string)), append(types, d.record["event_type"].(string))
		versions, payloads = append(versions, d.record["version"].(int)), append(payloads, string(payload))
	}
	if len(ids) == 0 {
		return
	}
	if _, err := r.producer.Exec(r.t.Context(), sqlAppendDrafts, ids, tenants, types, versions, payloads); err != nil {
		r.t.Fatalf("append: %v", err)
	}
}

// publish puts drafts on their streams and waits for every PubAck.
func (r *rig) publish(drafts ...*draft) {
	r.t.Helper()
	var acks []jetstream.PubAckFuture
	for _, d := range drafts {
		msg := nats.NewMsg(d.subject)
		msg.Data = d.bytes()
		if d.msgID != "-" {
			msg.Header.Set(jetstream.MsgIDHeader, d.msgID)
		}
		for name, value := range d.headers {
			msg.Header.Set(name, value)
		}
		ack, err := r.js.PublishMsgAsync(msg)
		if err != nil {
			r.t.Fatalf("publish: %v", err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			r.t.Fatalf("publish: %v", err)
		}
	}
}

// durable is how far a consumer has come, as its server counts.
func (r *rig) durable(stream string) *jetstream.ConsumerInfo {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), stream, transport.PCMOFB)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := c.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

// settled waits until every message of both streams has been answered for good.
func (r *rig) settled() {
	r.t.Helper()
	for _, stream := range []string{transport.Interactions, transport.Events} {
		eventually(r.t, "every message of "+stream+" is settled", func() bool {
			info := r.durable(stream)
			return info.NumPending == 0 && info.NumAckPending == 0 && info.Delivered.Stream >= r.newest(stream, info.Config)
		})
	}
}

// newest is the last message of a stream that a consumer hears of. What is pending
// is counted a moment after its PubAck.
func (r *rig) newest(stream string, to jetstream.ConsumerConfig) (seq uint64) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, subject := range append(to.FilterSubjects, to.FilterSubject) {
		if subject == "" {
			continue
		}
		msg, err := s.GetLastMsgForSubject(r.t.Context(), subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			r.t.Fatal(err)
		}
		seq = max(seq, msg.Sequence)
	}
	return seq
}

// allTold waits until the DLQ knows of every row. What a slow machine did not
// announce in time is announced again, as a worker does.
func (r *rig) allTold() {
	r.t.Helper()
	eventually(r.t, "every notice is out", func() bool {
		if r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE published_at IS NULL`) == 0 {
			return true
		}
		_ = quarantine.Announce(r.t.Context(), r.pool, r.js)
		return false
	})
}

// count is one number from the database.
func (r *rig) count(sql string, args ...any) (n int64) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), sql, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// place is where one event ended: its consumer row's outcome, "quarantine:" and
// the reason, or several of these.
const sqlPlace = `
SELECT coalesce(string_agg(p, ' ' ORDER BY p), '') FROM (
  SELECT outcome AS p FROM event_runtime.consumer_idempotency WHERE event_id = $1 AND tenant_id = $2
   UNION ALL SELECT 'quarantine:' || reason FROM event_runtime.quarantine WHERE event_id = $1 AND coalesce(tenant_id, '') = $2 AND stage = 'ingest') AS places`

func (r *rig) place(tenant string, id event.ID) (where string) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), sqlPlace, id, tenant).Scan(&where); err != nil {
		r.t.Fatal(err)
	}
	return where
}

// whole fails the test unless the books balance.
func (r *rig) whole() *verify.Report {
	r.t.Helper()
	report, err := verify.Run(r.t.Context(), r.reader, verify.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Exit != verify.Whole {
		r.t.Errorf("verify: got exit %d: %v, pending %d", report.Exit, report.Broken, report.Pending)
	}
	return report
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// named counts the lines of one event.
func (l *lines) named(name string) int { return strings.Count(l.String(), `"event":"`+name+`"`) }

// eventually waits for what another goroutine or server brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, errors.Join(ctx.Err(), context.Cause(t.Context())))
		}
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
