package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/relay"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
)

// world is the whole way of an event: a Postgres and a JetStream of its own, a
// relay, and a worker as `serve` makes it. The recipes in docs/recipes check with
// it what they add. A test that has one is not parallel: meters are global.
type world struct {
	t    *testing.T
	db   *testenv.PostgresServer
	gone chan error // of a part that ended by itself
}

const seedWorld = `
INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme');
INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id)
SELECT 'acme-bank', e, '082ff90b-9d65-46bb-b123-b88eb47fd61c', '082ff90b-9d65-46bb-b123-b88eb47fd61c' FROM unnest(array['ofb', 'opin']) AS e`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: testenv.Cluster(t), gone: make(chan error, 2)}
	if _, err := migrations.EnsureSlot(t.Context(), w.db.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	w.db.Exec(seedWorld)
	nats := testenv.NATS(t).URL()
	all := map[string]string{"DATABASE_URL": w.db.URL("runtime_worker"), "NATS_URL": nats, "SPOOL_DIR": t.TempDir(), "HTTP_ADDR": "127.0.0.1:0", "CANARY_INTERVAL": "0s"}
	for _, stream := range []string{"INTERACTIONS", "EVENTS", "DLQ"} { // a test's server has room for little
		all["NATS_STREAM_"+stream+"_MAX_BYTES"] = "67108864"
	}
	cfg, err := Read(t.Context(), envconfig.MapLookuper(all))
	if err != nil {
		t.Fatal(err)
	}
	nc, _, err := transport.Connect(cfg.NATS, "relay")
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(relay.Config{DatabaseURL: w.db.URL("runtime_relay"), Window: 64, WindowBytes: 1 << 20, AckTimeout: 5 * time.Second, DrainFor: 5 * time.Second}, nc, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	w.run("serve", func(ctx context.Context) error { return Serve(ctx, cfg, zerolog.Nop()) }, func() {})
	w.run("relay", r.Run, nc.Close)
	return w
}

// run starts a part that ends with the test, and closes what it used.
func (w *world) run(name string, part func(context.Context) error, done func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() {
		err := part(ctx)
		if ctx.Err() == nil {
			w.gone <- fmt.Errorf("%s ended: %w", name, err)
		}
		ended <- err
	}()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
		done()
	})
}

// try appends an event as a producer does.
func (w *world) try(e outbox.Event) (id string, err error) {
	w.t.Helper()
	err = pgx.BeginFunc(w.t.Context(), w.db.Conn("runtime_producer"), func(tx pgx.Tx) error {
		ids, err := outbox.Append(w.t.Context(), tx, e)
		if err == nil {
			id = ids[0]
		}
		return err
	})
	return id, err
}

func (w *world) append(e outbox.Event) (id string) {
	w.t.Helper()
	id, err := w.try(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

const sqlBecame = `
SELECT outcome FROM event_runtime.consumer_idempotency WHERE event_id = $1 AND consumer = $2
 UNION ALL SELECT 'quarantine:' || reason FROM event_runtime.quarantine WHERE event_id = $1 AND consumer = $2 AND stage = 'ingest'`

// becomes waits for what a consumer makes of an event: the outcome of its row, or
// "quarantine:" and the reason.
func (w *world) becomes(id, consumer, want string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	conn := w.db.Conn(testenv.Superuser)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var got string
		switch err := conn.QueryRow(ctx, sqlBecame, id, consumer).Scan(&got); {
		case err == nil && got != want:
			w.t.Errorf("event %s at %s became %q, want %q", id, consumer, got, want)
			return
		case err == nil:
			return
		case !errors.Is(err, pgx.ErrNoRows):
			w.t.Fatalf("event %s has nothing at %s: %v", id, consumer, err)
		}
		select {
		case <-tick.C:
		case err := <-w.gone:
			w.t.Fatal(err)
		case <-ctx.Done():
			w.t.Fatalf("event %s has nothing at %s after two minutes", id, consumer)
		}
	}
}

// whole fails the test unless the books balance.
func (w *world) whole() {
	w.t.Helper()
	report, err := verify.Run(w.t.Context(), w.db.Pool("runtime_readonly"), verify.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	if report.Exit != verify.Whole {
		w.t.Errorf("verify: got exit %d: %v, pending %d", report.Exit, report.Broken, report.Pending)
	}
}

func TestAnEventGoesTheWholeWay(t *testing.T) { // not parallel: see world
	w := newWorld(t)
	advanced := w.append(outbox.Event{TenantID: "acme-bank", Ecosystem: "ofb", Type: "consent.advanced", Payload: map[string]string{"state": "AUTHORISED"}})
	unheard := w.append(outbox.Event{TenantID: "acme-bank", Ecosystem: "ofb", Type: "consent.unheard", Payload: map[string]string{}})
	foreign := w.append(outbox.Event{TenantID: "globex", Ecosystem: "ofb", Type: "consent.advanced", Payload: map[string]string{"state": "AUTHORISED"}})
	w.becomes(advanced, transport.PCMOFB, "ineligible:api_not_enabled")
	w.becomes(unheard, transport.PCMOFB, "quarantine:schema_unknown")
	w.becomes(foreign, transport.PCMOFB, "quarantine:tenant_unknown")
	w.whole()
}
