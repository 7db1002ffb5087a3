package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const patience = 60 * time.Second

func testConfig(url string) Config {
	return Config{DatabaseURL: url, Window: 4096, WindowBytes: 2 << 20, Group: 500, AckTimeout: 10 * time.Second, DrainFor: 5 * time.Second, StallFor: time.Minute}
}

// rig is a database with an outbox and a slot, and a JetStream server.
type rig struct {
	t    *testing.T
	pg   *testenv.PostgresServer
	nats *testenv.NATSServer
	cfg  Config
	log  *logBook
	js   jetstream.JetStream // for count

	atomic bool // the streams take groups
}

// newRig has the schema of our migrations, and the streams of our design.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := bareRig(t, testenv.Cluster(t))
	r.provision()
	r.makeSlot()
	return r
}

// newGroupRig has streams that take atomic batches.
func newGroupRig(t *testing.T) *rig {
	t.Helper()
	r := bareRig(t, testenv.Cluster(t))
	r.atomic = true
	r.provision()
	r.makeSlot()
	return r
}

func bareRig(t *testing.T, pg *testenv.PostgresServer) *rig {
	t.Helper()
	r := &rig{t: t, pg: pg, nats: testenv.NATS(t), log: &logBook{more: make(chan struct{})}}
	r.cfg = testConfig(pg.URL("runtime_relay"))
	return r
}

func (r *rig) makeSlot() {
	r.t.Helper()
	if _, err := migrations.EnsureSlot(r.t.Context(), r.pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) provision() {
	r.t.Helper()
	r.provisionOn(r.nats.JetStream())
}

func (r *rig) provisionOn(js jetstream.JetStream) {
	r.t.Helper()
	for _, cfg := range transport.Streams(transport.Limits{Replicas: 1, InteractionsBytes: 1 << 30, EventsBytes: 1 << 30, DLQBytes: 1 << 20, Atomic: r.atomic}) {
		if _, err := js.CreateStream(r.t.Context(), cfg); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) connect() *nats.Conn {
	r.t.Helper()
	return r.connectTo(r.nats.URL())
}

func (r *rig) connectTo(url string, options ...nats.Option) *nats.Conn {
	r.t.Helper()
	nc, _, err := transport.Connect(transport.Config{URL: url}, "relay", options...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// running is a relay at work in this process.
type running struct {
	*Relay
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

func (r *rig) start() *running {
	r.t.Helper()
	return r.startOn(r.connect())
}

func (r *rig) startOn(nc *nats.Conn) *running {
	r.t.Helper()
	return r.run(r.made(nc))
}

// made is a relay that does not run yet.
func (r *rig) made(nc *nats.Conn) *Relay {
	r.t.Helper()
	relay, err := New(r.cfg, nc, zerolog.New(r.log))
	if err != nil {
		r.t.Fatal(err)
	}
	return relay
}

func (r *rig) run(relay *Relay) *running {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	run := &running{Relay: relay, t: r.t, cancel: cancel, done: make(chan error, 1)}
	go func() { run.done <- relay.Run(ctx) }()
	r.t.Cleanup(run.stop)
	return run
}

// stop ends it in order.
func (run *running) stop() {
	run.once.Do(func() {
		run.cancel()
		select {
		case err := <-run.done:
			if err != nil {
				run.t.Errorf("relay: %v", err)
			}
		case <-time.After(patience):
			run.t.Error("the relay did not stop")
		}
	})
}

// child is a relay in a process of its own, to be killed.
func (r *rig) child(env ...string) *testenv.Process {
	r.t.Helper()
	env = append([]string{roleEnv + "=relay", databaseEnv + "=" + r.cfg.DatabaseURL, fileEnv + "=" + r.cfg.File}, env...)
	if r.nats != nil {
		env = append(env, natsEnv+"="+r.nats.URL())
	}
	return testenv.Start(r.t, os.Args[0], nil, env)
}

const sqlAppend = `
SELECT event_runtime.append_event('acme-bank', 'ofb', $2, jsonb_build_object('n', g)) FROM generate_series(1, $1::int) g`

// append adds so many events in one transaction.
func (r *rig) append(n int, eventType string) {
	r.t.Helper()
	r.pg.Exec(sqlAppend, n, eventType)
}

// stored waits until the streams hold n messages in all, and gives the ids they
// were stored under. A stream that holds one twice fails the test.
func (r *rig) stored(n int) map[string]bool {
	r.t.Helper()
	ids := map[string]bool{}
	await(r.t, fmt.Sprintf("%d messages in the streams", n), func() bool { return r.count() >= uint64(n) })
	for _, name := range []string{transport.Interactions, transport.Events} {
		for _, id := range r.ids(name) {
			if ids[id] {
				r.t.Errorf("%s is stored twice", id)
			}
			ids[id] = true
		}
	}
	if len(ids) != n {
		r.t.Errorf("got %d messages in the streams, want %d", len(ids), n)
	}
	return ids
}

// ids reads the headers of a whole stream.
func (r *rig) ids(stream string) (all []string) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	n := s.CachedInfo().State.Msgs
	if n == 0 {
		return nil
	}
	c, err := s.CreateConsumer(r.t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true})
	if err != nil {
		r.t.Fatal(err)
	}
	batch, err := c.Fetch(int(n), jetstream.FetchMaxWait(patience))
	if err != nil {
		r.t.Fatal(err)
	}
	for m := range batch.Messages() {
		all = append(all, m.Headers().Get(headerMsgID))
	}
	if err := batch.Error(); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func (r *rig) count() (n uint64) {
	if r.js == nil {
		r.js = r.nats.JetStream()
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second) // it may be restarting
	defer cancel()
	for _, name := range []string{transport.Interactions, transport.Events} {
		if s, err := r.js.Stream(ctx, name); err == nil {
			n += s.CachedInfo().State.Msgs
		}
	}
	return n
}

// wantAll compares the streams with the outbox: every row once, and nothing else.
func (r *rig) wantAll(n int) {
	r.t.Helper()
	ids := r.stored(n)
	for _, id := range r.outboxIDs() {
		if !ids[id.String()] {
			r.t.Errorf("event %s is not in the streams", id)
		}
	}
}

func (r *rig) outboxIDs() []event.ID {
	r.t.Helper()
	rows, err := r.pg.Conn(testenv.Superuser).Query(r.t.Context(), `SELECT event_id FROM event_runtime.outbox`)
	if err != nil {
		r.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[event.ID])
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

// confirmed waits until the slot is confirmed up to what the log holds now.
func (r *rig) confirmed() {
	r.t.Helper()
	target, conn := r.here(), r.pg.Conn(testenv.Superuser)
	await(r.t, "the slot confirmed up to "+target, func() bool {
		var ok bool
		err := conn.QueryRow(r.t.Context(), `SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots`, target).Scan(&ok)
		return err == nil && ok
	})
}

// here is how far the log goes now.
func (r *rig) here() (lsn string) {
	r.t.Helper()
	if err := r.pg.Conn(testenv.Superuser).QueryRow(r.t.Context(), `SELECT pg_current_wal_insert_lsn()::text`).Scan(&lsn); err != nil {
		r.t.Fatal(err)
	}
	return lsn
}

// notReached fails the test when the slot is confirmed up to a position behind
// the row in question. In front of its commit it may move at any time.
func (r *rig) notReached(lsn string) {
	r.t.Helper()
	var at string
	var reached bool
	err := r.pg.Conn(testenv.Superuser).QueryRow(r.t.Context(), `SELECT confirmed_flush_lsn::text, confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots`, lsn).Scan(&at, &reached)
	if err != nil {
		r.t.Fatal(err)
	}
	if reached {
		r.t.Errorf("the slot is confirmed to %s, and a row in front of %s is not stored", at, lsn)
	}
}

// await asks again and again: there is nobody who could tell.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// logBook keeps what the relay logs, and tells who waits for a line.
type logBook struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, string(line))
	close(b.more)
	b.more = make(chan struct{})
	return len(line), nil
}

// with gives the lines that hold a text.
func (b *logBook) with(text string) (found []string, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found, b.more
}

// await waits for a line.
func (b *logBook) await(t *testing.T, text string) string {
	t.Helper()
	late := time.After(patience)
	for {
		found, more := b.with(text)
		if len(found) > 0 {
			return found[0]
		}
		select {
		case <-more:
		case <-late:
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("no line with %q among:\n%s", text, strings.Join(b.lines, ""))
		}
	}
}

// read decodes a message by value, numbers as text.
func read[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(string(text)))
	in.UseNumber()
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return v
}
