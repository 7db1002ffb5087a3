package chaos

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

// A rig is everything that survives: the database, the streams and the
// regulator, each its own; and the processes under test, which do not.
type rig struct {
	t         *testing.T
	seedValue uint64
	db        *testenv.PostgresServer
	pool      *pgxpool.Pool // as superuser: it may look at everything
	producer  *pgxpool.Pool
	nats      *testenv.NATSServer  // nil where there is a cluster
	cluster   *testenv.NATSCluster // nil where there is one server
	limits    transport.Limits
	who       map[string][]string // what a process is told of its identity, by command
	js        jetstream.JetStream
	regulator *simulator.Server
	proxy     *testenv.FaultProxy // in front of the regulator's report host
	dir       string
	serveEnv  []string
	courier   *courier                // where the bridge is the relay
	standby   *testenv.PostgresServer // where there is one

	mu    sync.Mutex
	dice  *mrand.Rand // guarded by mu, like all below
	sent  []*sent
	procs []*testenv.Process
	names int
}

// An option changes a rig before it starts.
type option func(*setup)

type setup struct {
	cluster   []testenv.Option
	simulator func(*simulator.Config)
	env       []string
	items     int
	nodes     int
	atomic    bool
	accounts  bool
}

// withAccounts gives each role an identity of its own, with the configuration that
// we print for a server.
func withAccounts(s *setup) { s.accounts = true }

// onNodes gives it so many NATS servers, processes that can be killed.
func onNodes(n int) option { return func(s *setup) { s.nodes = n } }

// inGroups gives it streams that take atomic batches.
func inGroups(s *setup) { s.atomic = true }

func onCluster(o ...testenv.Option) option {
	return func(s *setup) { s.cluster = append(s.cluster, o...) }
}

func withSimulator(change func(*simulator.Config)) option {
	return func(s *setup) { s.simulator = change }
}

// withEnv changes what `serve` is configured with.
func withEnv(env ...string) option { return func(s *setup) { s.env = append(s.env, env...) } }

// withBatchesOf makes the second bank wait until n events have come: they are one
// batch, however slowly they came.
func withBatchesOf(n int) option { return func(s *setup) { s.items = n } }

// rigs has a place for each that may be there at once: each is a Postgres cluster
// and two processes with the race detector.
var rigs = make(chan struct{}, sideBySide)

func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	rigs <- struct{}{}
	t.Cleanup(func() { <-rigs })
	var s setup
	for _, o := range options {
		o(&s)
	}
	r := &rig{t: t, seedValue: seedOf(t), dir: t.TempDir(), serveEnv: s.env}
	r.dice = mrand.New(mrand.NewPCG(r.seedValue, 0))
	r.db = testenv.Cluster(t, s.cluster...)
	r.pool = r.db.Pool(testenv.Superuser)
	r.producer = r.db.Pool("runtime_producer")
	if _, err := migrations.EnsureSlot(t.Context(), r.db.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	r.watch()
	r.limits = transport.Limits{Replicas: max(s.nodes, 1), InteractionsBytes: 256 << 20, EventsBytes: 256 << 20, DLQBytes: 64 << 20, Atomic: s.atomic}
	switch {
	case s.accounts:
		r.guarded()
	case s.nodes > 0:
		r.cluster = testenv.NATSNodes(t, s.nodes, nil)
		r.js = r.cluster.JetStream()
		r.provision()
	default:
		r.nats = testenv.NATS(t)
		r.js = r.nats.JetStream()
		r.provision()
	}
	r.startRegulator(s.simulator)
	r.proxy = testenv.Proxy(t, hostOf(r.regulator.APIURL()))
	r.seed(s.items)
	t.Cleanup(r.tell)
	return r
}

// seedOf is what random decisions follow from.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := mrand.Uint64() >> 1
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	t.Logf("CHAOS_SEED=%d", seed)
	return seed
}

// ackWait is how long JetStream leaves a message with a worker that is gone:
// seconds here, where production has a minute.
const ackWait = 2 * time.Second

func (r *rig) provision() {
	r.t.Helper()
	r.until("streams and consumers", time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
		defer cancel()
		err := r.tryProvision(ctx)
		if err != nil && r.cluster == nil { // a cluster has no leader at first
			r.t.Fatal(err)
		}
		return err == nil
	})
}

func (r *rig) tryProvision(ctx context.Context) error {
	if err := transport.Provision(ctx, r.js, r.pool, r.limits, time.Now()); err != nil {
		return err
	}
	for _, d := range transport.Durables(r.limits.Replicas) {
		d.Config.AckWait = ackWait
		if _, err := r.js.UpdateConsumer(ctx, d.Stream, d.Config); err != nil {
			return err
		}
	}
	return nil
}

// broker is where NATS is.
func (r *rig) broker() string {
	if r.cluster != nil {
		return r.cluster.URL()
	}
	return r.nats.URL()
}

// tokenKey is made once: an RSA key takes longer than a cluster.
var tokenKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func (r *rig) startRegulator(change func(*simulator.Config)) {
	r.t.Helper()
	key, err := tokenKey()
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := simulator.Config{
		DataDir: filepath.Join(r.dir, "regulator"), Directory: market(), TokenKey: key, Seed: r.seedValue,
		VisibilityDelay: 200 * time.Millisecond, Counterparty: simulator.Counterparty{Mode: simulator.Equal, Organisations: []string{partnerOrg}},
	}
	if change != nil {
		change(&cfg)
	}
	if r.regulator, err = simulator.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.regulator.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			r.t.Errorf("regulator: %v", err)
		}
	})
	select {
	case <-r.regulator.Ready():
	case err := <-ended:
		ended <- err
		r.t.Fatalf("regulator: %v", err)
	}
}

// in makes a part of a test speak for the rig: a failure is its own.
func (r *rig) in(t *testing.T) {
	whole := r.t
	r.t = t
	t.Cleanup(func() { r.t = whole })
}

// roll draws a number below n; the same seed draws the same numbers.
func (r *rig) roll(n int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dice.Int64N(n)
}

// scan reads one row.
func (r *rig) scan(sql string, args []any, into ...any) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), sql, args...).Scan(into...); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// count reads one number.
func (r *rig) count(sql string, args ...any) (n int64) {
	r.t.Helper()
	r.scan(sql, args, &n)
	return n
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// until waits for something to become true.
func (r *rig) until(what string, within time.Duration, is func() bool) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(within)
	defer late.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late.C:
			r.t.Fatalf("after %v still not: %s", within, what)
		case <-r.t.Context().Done():
			r.t.Fatal(r.t.Context().Err())
		}
	}
}
