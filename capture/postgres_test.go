package capture

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// bank is an API behind a middleware and a caller behind a round-tripper, both
// recording into a real outbox.
type bank struct {
	*Recorder
	t  *testing.T
	db interface {
		Pool(role string) *pgxpool.Pool
	}
	log    *logged
	url    string
	client *http.Client
}

func newBank(t *testing.T, db interface {
	Pool(role string) *pgxpool.Pool
}, pool Pool, change ...func(*Config)) *bank {
	t.Helper()
	b := &bank{t: t, db: db, log: &logged{}}
	cfg := Config{TenantID: "acme", Ecosystem: "ofb", Source: "bank-api", Wait: 30 * time.Second, Log: zerolog.New(b.log)}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if b.Recorder, err = New(pool, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.drained)
	server := serve(t, b.Server(ServerOptions{Details: Details{ServerOrgID: orgB}})(routes(map[string]http.HandlerFunc{
		"GET " + accountTemplate: func(w http.ResponseWriter, r *http.Request) {
			Annotate(r.Context(), Details{ClientOrgID: orgA})
			_, _ = io.WriteString(w, "account")
		},
	})))
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	b.url = server.URL + "/open-banking/accounts/v2/accounts/12345678909?cpf=12345678909"
	b.client = &http.Client{Transport: transport}
	return b
}

// ask calls the API, and says how long the answer took.
func (b *bank) ask() time.Duration {
	b.t.Helper()
	start := time.Now()
	req, _ := http.NewRequestWithContext(named(b.t.Context()), "GET", b.url, nil)
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Error(err)
		return 0
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "account" || err != nil {
		b.t.Errorf("got %q, %v", body, err)
	}
	return time.Since(start)
}

// drained waits until nothing is tried again any more.
func (b *bank) drained() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), 20*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.t.Errorf("%v: %s", err, b.log)
	}
}

type outboxRow struct {
	ID, Tenant, Ecosystem, Type string
	Version                     int
	OccurredAt                  time.Time
	Traceparent, Source         *string
	Payload                     []byte
}

// rows reads the outbox back, as a consumer's role.
func (b *bank) rows() []outboxRow {
	b.t.Helper()
	found, err := b.db.Pool("runtime_worker").Query(b.t.Context(),
		`select event_id::text, tenant_id, ecosystem, event_type, version, occurred_at, traceparent, source, payload from event_runtime.outbox`)
	if err != nil {
		b.t.Fatal(err)
	}
	rows, err := pgx.CollectRows(found, pgx.RowToStructByPos[outboxRow])
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

func TestPostgresHoldsBothSidesOfACall(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	b := newBank(t, db, db.Pool("runtime_producer"))
	b.client.Transport = b.Client(b.client.Transport, ClientOptions{Details: Details{ClientOrgID: orgA, ServerOrgID: orgB, ClientSSID: anID}})
	b.ask()
	b.drained()
	rows := b.rows()
	if len(rows) != 2 {
		t.Fatalf("got %d rows, want 2: %s", len(rows), b.log)
	}
	catalog, err := event.NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	calls := map[event.Role]*event.Interaction{}
	for _, row := range rows {
		if row.Tenant != "acme" || row.Ecosystem != "ofb" || row.Type != event.InteractionCompleted || row.Version != 1 || *row.Source != "bank-api" {
			t.Errorf("got %+v", row)
		}
		if err := catalog.Check(&event.Envelope{Type: row.Type, Version: row.Version, Payload: row.Payload}); err != nil {
			t.Errorf("%s: %v", row.Payload, err)
		}
		if strings.Contains(string(row.Payload), "12345678909") {
			t.Errorf("the path is in the payload: %s", row.Payload)
		}
		call, err := event.ParseInteraction(row.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := call.At(); err != nil || !at.Equal(row.OccurredAt) {
			t.Errorf("occurred %v, and the call began %v", row.OccurredAt, call.Timestamp)
		}
		calls[call.Role] = call
	}
	client, server := calls[event.Client], calls[event.Server]
	if client == nil || server == nil {
		t.Fatalf("got %v", calls)
	}
	// What the regulator pairs by must be equal; what is each side's own is not compared.
	if client.InteractionID != server.InteractionID || !client.InteractionIDMade || server.InteractionIDMade {
		t.Errorf("client %s, server %s", client.InteractionID, server.InteractionID)
	}
	pair := func(i *event.Interaction) event.Interaction {
		return event.Interaction{Endpoint: i.Endpoint, Method: i.Method, StatusCode: i.StatusCode, ClientOrgID: i.ClientOrgID, ServerOrgID: i.ServerOrgID}
	}
	if got, want := pair(server), pair(client); !reflect.DeepEqual(got, want) {
		t.Errorf("server %+v, client %+v", got, want)
	}
	if client.ProcessTimespan <= 0 || client.EndpointURIPrefix == "" || server.EndpointURIPrefix != "" || server.ClientSSID != "" {
		t.Errorf("client %+v, server %+v", client, server)
	}
}

// behind gives a pool that reaches db through a proxy. Calls one after the other
// use the same connection.
func behind(t *testing.T, db interface{ URL(role string) string }) (*pgxpool.Pool, *testenv.FaultProxy) {
	t.Helper()
	address, err := url.Parse(db.URL("runtime_producer"))
	if err != nil {
		t.Fatal(err)
	}
	p := testenv.Proxy(t, address.Host)
	address.Host = p.Addr()
	cfg, err := pgxpool.ParseConfig(address.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, p
}

const (
	commitSent     = int64(len("Q....commit."))
	commitAnswered = int64(len("C....COMMIT." + "Z....I"))
)

// The write that matters is the commit. It was lost, and it was lost but it
// happened: in both worlds there is one row in the end.
func TestPostgresLosesTheCommit(t *testing.T) {
	t.Parallel()
	lose := func(then testenv.Action) func(up, _ int64) testenv.Rule {
		return func(up, _ int64) testenv.Rule {
			return testenv.Rule{Up: testenv.Fault{After: up - commitSent, Then: then, Await: true}}
		}
	}
	loseAnswer := func(then testenv.Action) func(_, down int64) testenv.Rule {
		return func(_, down int64) testenv.Rule {
			return testenv.Rule{Down: testenv.Fault{After: down - commitAnswered, Then: then, Await: true}}
		}
	}
	for name, c := range map[string]struct {
		rule   func(up, down int64) testenv.Rule
		stored bool // by the first attempt
	}{
		"commit never arrived":         {lose(testenv.Reset), false},
		"commit swallowed":             {lose(testenv.Blackhole), false},
		"committed, answer never came": {loseAnswer(testenv.Reset), true},
		"committed, answer swallowed":  {loseAnswer(testenv.Blackhole), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.Postgres(t)
			// A transaction whose client fell silent holds its event's id, and every
			// attempt with that id waits for it.
			db.Exec("alter role runtime_producer in database " + db.Name() + " set idle_in_transaction_session_timeout = '1s'")
			pool, proxy := behind(t, db)
			b := newBank(t, db, pool)
			var repeated atomic.Int64
			inner := b.store
			b.store = groupFunc(func(ctx context.Context, group []*item) error {
				for _, it := range group {
					it.call.ProcessTimespan = 1.5 // equal bytes in each call
					if err := it.prepare(); err != nil {
						return err
					}
				}
				err := inner.put(ctx, group)
				if err != nil && judge(err) == stored {
					repeated.Add(1)
				}
				return err
			})
			b.ask() // the first connection shows how many bytes a call takes
			first := <-proxy.Accepted()
			proxy.Next(c.rule(first.Passed(testenv.Up), first.Passed(testenv.Down)))
			first.Reset()
			<-first.Closed()
			pool.Reset()
			b.cfg.Wait = 100 * time.Millisecond // for the first call it was long: its bytes had to be whole
			if held := b.ask(); held > 4*time.Second {
				t.Errorf("the answer was held %v", held)
			}
			select {
			case <-(<-proxy.Accepted()).Faulted():
			case <-time.After(30 * time.Second): // only when the test fails anyway
				t.Fatal("the fault never struck")
			}
			b.drained()
			proxy.Reset() // a driver holds on to a silent connection for a while
			if got := b.Stats(); got != (Stats{Server: Counts{Captured: 1, Late: 1}}) {
				t.Errorf("got %+v, want one captured and one late", got)
			}
			if got := repeated.Load(); got != count(c.stored) {
				t.Errorf("%d attempts found the row there", got)
			}
			if got := b.rows(); len(got) != 2 {
				t.Errorf("got %d rows, want 2", len(got))
			}
		})
	}
}

func TestPostgresIsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ leave, back func(*testenv.FaultProxy) }{
		"silent":  {(*testenv.FaultProxy).Pause, (*testenv.FaultProxy).Resume},
		"refused": {func(p *testenv.FaultProxy) { p.Refuse(); p.Reset() }, (*testenv.FaultProxy).Accept},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.Postgres(t)
			pool, proxy := behind(t, db)
			const patience = 100 * time.Millisecond
			b := newBank(t, db, pool, wait(patience))
			c.leave(proxy)
			for range 5 {
				if held := b.ask(); held > 4*time.Second { // less than an attempt: the machine may be busy
					t.Errorf("the answer was held %v", held)
				}
			}
			if got := b.Stats(); got != (Stats{Waiting: 5}) {
				t.Errorf("got %+v, want 5 waiting", got)
			}
			c.back(proxy)
			b.drained()
			if got := b.Stats(); got != (Stats{Server: Counts{Late: 5}}) {
				t.Errorf("got %+v, want 5 late: %s", got, b.log)
			}
			if got := b.rows(); len(got) != 5 {
				t.Errorf("got %d rows, want 5", len(got))
			}
		})
	}
}

func TestPostgresStopsAndStarts(t *testing.T) {
	t.Parallel()
	cluster := testenv.Cluster(t)
	b := newBank(t, cluster, cluster.Pool("runtime_producer"))
	leave := map[string]func(){"kill": cluster.Kill, "stop": cluster.Stop}
	for _, how := range []string{"kill", "stop"} {
		b.ask()
		leave[how]()
		<-cluster.Done()
		b.ask()
		if got := b.Stats().Waiting; got != 1 {
			t.Errorf("%s: got %d waiting, want 1", how, got)
		}
		cluster.Start()
		for b.Stats().Waiting > 0 && t.Context().Err() == nil { // each call is an event to wait for
			b.ask()
		}
	}
	b.drained()
	got := b.Stats().Server
	if rows := len(b.rows()); got.Lost != 0 || int64(rows) != got.Captured+got.Late || got.Late < 2 {
		t.Errorf("got %+v and %d rows", got, rows)
	}
}

func TestPostgresIsLocked(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	b := newBank(t, db, db.Pool("runtime_producer"), wait(100*time.Millisecond))
	lock, err := db.Conn(testenv.Superuser).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "lock table event_runtime.outbox in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	b.ask()
	if got := b.Stats().Waiting; got != 1 {
		t.Errorf("got %d waiting, want 1", got)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.drained()
	if got := b.Stats().Server; got != (Counts{Late: 1}) || len(b.rows()) != 1 {
		t.Errorf("got %+v and %d rows", got, len(b.rows()))
	}
}

func TestPostgresRefusesTheRole(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	b := newBank(t, db, db.Pool("runtime_readonly"), func(c *Config) { c.RetryFor = time.Nanosecond })
	b.ask()
	b.drained()
	if got := b.Stats().Server; got != (Counts{Lost: 1}) {
		t.Errorf("got %+v, want one lost", got)
	}
	if got := b.log.lines("capture.lost"); len(got) != 1 || !strings.Contains(got[0], `"code":"sqlstate_42501"`) || strings.Contains(b.log.String(), "12345678909") {
		t.Errorf("got %s", b.log)
	}
}

func TestPostgresUnderManyCallers(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	b := newBank(t, db, db.Pool("runtime_producer"))
	b.client.Transport = b.Client(b.client.Transport, ClientOptions{})
	const callers, each = 32, 10
	var work sync.WaitGroup
	for range callers {
		work.Go(func() {
			for range each {
				b.ask()
			}
		})
	}
	work.Wait()
	want := Counts{Captured: callers * each}
	if got := b.Stats(); got != (Stats{Server: want, Client: want}) {
		t.Errorf("got %+v, want %+v twice: %s", got, want, b.log)
	}
	pairs := map[string]int{}
	for _, row := range b.rows() {
		call, err := event.ParseInteraction(row.Payload)
		if err != nil {
			t.Fatal(err)
		}
		pairs[fmt.Sprint(call.InteractionID)]++
	}
	if len(pairs) != callers*each {
		t.Errorf("got %d interactions, want %d", len(pairs), callers*each)
	}
	for id, n := range pairs {
		if n != 2 {
			t.Errorf("%s: got %d rows, want 2", id, n)
		}
	}
}
