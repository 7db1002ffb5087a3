package sweep

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/finnest/event-runtime/migrations"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	acme   = "acme-bank"
	globex = "globex"
	ourOrg = "082ff90b-9d65-46bb-b123-b88eb47fd61c"
)

const seed = `
INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme'), ('globex', 'Globex')`

const seedOrganisations = `
INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id)
SELECT t, 'ofb', '082ff90b-9d65-46bb-b123-b88eb47fd61c', '082ff90b-9d65-46bb-b123-b88eb47fd61c' FROM unnest(array['acme-bank', 'globex']) AS t`

// database is one of a test's own, in a cluster of its own or not.
type database interface {
	Pool(role string) *pgxpool.Pool
	Exec(sql string, args ...any)
}

// rig is an outbox, the streams, and a sweeper whose clock the test moves.
type rig struct {
	t        *testing.T
	db       database
	pool     *pgxpool.Pool // as runtime_worker
	producer *pgxpool.Pool
	super    *pgxpool.Pool
	nats     *testenv.NATSServer
	js       jetstream.JetStream
	sweeper  *Sweeper
	ahead    atomic.Int64 // of the clock: nanoseconds
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, testenv.Postgres(t))
}

func newRigOn(t *testing.T, db database) *rig {
	t.Helper()
	r := &rig{t: t, db: db, pool: db.Pool("runtime_worker"), producer: db.Pool("runtime_producer"), super: db.Pool(testenv.Superuser), nats: testenv.NATS(t)}
	db.Exec(seed)
	db.Exec(seedOrganisations)
	r.js = r.nats.JetStream()
	r.provision()
	r.sweeper = r.newSweeper()
	return r
}

var limits = transport.Limits{Replicas: 1, InteractionsBytes: 64 << 20, EventsBytes: 64 << 20, DLQBytes: 16 << 20}

func (r *rig) provision() {
	r.t.Helper()
	if err := transport.Provision(r.t.Context(), r.js, r.pool, limits, time.Now().Add(-20*time.Minute)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) newSweeper() *Sweeper {
	r.t.Helper()
	s, err := New(Config{Interval: time.Minute, Grace: time.Minute, Again: 10 * time.Minute, Whole: time.Hour},
		Deps{Pool: r.pool, JS: r.js, Slot: migrations.Slot, Now: r.now, Log: zerolog.New(r.t.Output()),
			Actor: "runtime:test", Hold: func(context.Context, pgx.Tx) error { return nil }})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }

func (r *rig) setAhead(by time.Duration) { r.ahead.Store(int64(by)) }

// pass sweeps once, with the clock ahead.
func (r *rig) pass(ahead time.Duration) *rig {
	r.t.Helper()
	r.setAhead(ahead)
	if err := r.sweeper.Pass(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return r
}

// rewind takes the marks back to before the test: moving the clock has brought
// them before events that are still to be made.
func (r *rig) rewind() {
	r.t.Helper()
	r.db.Exec(`UPDATE event_runtime.sweep_marks SET swept_until = now() - interval '10 minutes'`)
}

// call is a captured call that is to be reported.
func call() string {
	body, err := json.Marshal(map[string]any{"role": "CLIENT", "fapiInteractionId": uuid.NewString(), "endpoint": "/open-banking/accounts/v2/accounts", "httpMethod": "GET",
		"statusCode": 200, "timestamp": time.Now().UTC().Format(time.RFC3339Nano), "processTimespan": 120.5, "clientOrgId": ourOrg, "serverOrgId": "b8e34d5a-2ed5-451e-8ddb-45a1edc76243",
		"clientSSId": "f0b5419b-2b5f-4f59-9862-6d2a8e23be26", "endpointUriPrefix": "https://ofin.bank.com", "additionalInfo": map[string]any{"personType": "PF"}})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const sqlAppendCall = `SELECT event_runtime.append_event($1, 'ofb', 'interaction.completed', $2::jsonb, event_id => $3, source => 'gateway',
	traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', subject => '{"profile_id": "p-1"}')`

const sqlAppendConsent = `SELECT event_runtime.append_event($1, 'ofb', 'consent.advanced', '{"state": "AUTHORISED"}', event_id => $2,
	aggregate_type => 'consent', aggregate_id => 'urn:x:1', aggregate_version => 7, correlation_id => 'c"\1', idempotency_key => 'é')`

// append commits n calls and n semantic events of a tenant.
func (r *rig) append(tenant string, n int) (ids []event.ID) {
	r.t.Helper()
	for range n {
		ids = append(ids, r.appendCall(tenant, time.Now()), event.NewID(time.Now()))
		if _, err := r.producer.Exec(r.t.Context(), sqlAppendConsent, tenant, ids[len(ids)-1]); err != nil {
			r.t.Fatal(err)
		}
	}
	return ids
}

func (r *rig) appendCall(tenant string, made time.Time) event.ID {
	r.t.Helper()
	id := event.NewID(made)
	if _, err := r.producer.Exec(r.t.Context(), sqlAppendCall, tenant, call(), id); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// consume runs the consumers of both streams until stop.
func (r *rig) consume() (stop func()) {
	r.t.Helper()
	tenants, err := tenant.Open(r.t.Context(), r.pool, zerolog.Nop())
	if err != nil {
		r.t.Fatal(err)
	}
	catalog, err := event.NewCatalog()
	if err != nil {
		r.t.Fatal(err)
	}
	reporter, err := ofb.New(ofb.Config{AuthURL: "https://auth.invalid", APIURL: "https://api.invalid"}, tenants.Snapshot, time.Now, zerolog.Nop())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var group sync.WaitGroup
	for _, stream := range []string{transport.Interactions, transport.Events} {
		c, err := consumer.New(consumer.Config{BatchSize: 100, BatchWait: time.Millisecond, DrainFor: 5 * time.Second, SilentFor: time.Minute, AwayPause: 20 * time.Millisecond, NakWithin: time.Second},
			consumer.Deps{Name: transport.PCMOFB, Stream: stream, JS: r.js, Pool: r.pool, Catalog: catalog, Tenants: tenants.Snapshot, Reporter: reporter, Now: r.now, Log: zerolog.New(r.t.Output())})
		if err != nil {
			r.t.Fatal(err)
		}
		group.Go(func() {
			if err := c.Run(ctx); err != nil {
				r.t.Errorf("consumer on %s: %v", stream, err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) count(sql string, args ...any) (n int) {
	r.t.Helper()
	if err := r.super.QueryRow(r.t.Context(), sql, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (r *rig) want(what string, got, want int) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: got %d, want %d", what, got, want)
	}
}

// arrived waits for n consumer rows, and for nothing to be left in the streams.
func (r *rig) arrived(n int) {
	r.t.Helper()
	r.eventually("every message is settled", func() bool {
		for _, d := range transport.Durables(1) {
			c, err := r.js.Consumer(r.t.Context(), d.Stream, d.Config.Durable)
			if err != nil {
				r.t.Fatal(err)
			}
			if info := c.CachedInfo(); info.NumPending+uint64(info.NumAckPending) > 0 {
				return false
			}
		}
		return r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`) >= n
	})
	r.want("consumer rows", r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`), n)
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	late := time.NewTimer(40 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// messages counts what is in both streams.
func (r *rig) messages() (n int) {
	r.t.Helper()
	for _, name := range []string{transport.Interactions, transport.Events} {
		s, err := r.js.Stream(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		n += int(s.CachedInfo().State.Msgs)
	}
	return n
}

func (r *rig) owed() int {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.sweep_owed`)
}

func (r *rig) gap() int { return int(r.sweeper.metrics.sight.Load().gaps[transport.PCMOFB]) }

// whole is verify, without any grace.
func (r *rig) whole() {
	r.t.Helper()
	report, err := verify.Run(r.t.Context(), r.super, verify.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Exit != verify.Whole || report.Conflicts != 0 {
		r.t.Errorf("verify: exit %d, %d conflicts, %v", report.Exit, report.Conflicts, report.Broken)
	}
}

// background runs loops until stop, which waits for them.
func background(t *testing.T, loops ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	for _, run := range loops {
		group.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(stop)
	return stop
}
