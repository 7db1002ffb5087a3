package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const token = "bridge-token-0123456789-0123456789-01"

const patience = time.Minute

// rig is a service with its database, its streams and its address.
type rig struct {
	*testenv.DB
	t     *testing.T
	pool  *pgxpool.Pool // the service's
	proxy *testenv.FaultProxy
	nats  *testenv.NATSServer
	js    jetstream.JetStream
	dir   string // of token files
	url   string
	log   *lines
	clock *clock
}

type option func(*rig, *Config)

// proxied puts a fault proxy between the service and its database.
func proxied(r *rig, _ *Config) {
	address, err := url.Parse(r.URL("runtime_worker"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.proxy = testenv.Proxy(r.t, address.Host)
	address.Host = r.proxy.Addr()
	if r.pool, err = pgxpool.New(r.t.Context(), address.String()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.pool.Close)
}

func config(change func(*Config)) option { return func(_ *rig, c *Config) { change(c) } }

// newRig has streams; bareRig has none.
func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	r := bareRig(t, options...)
	r.provision()
	return r
}

func bareRig(t *testing.T, options ...option) *rig {
	t.Helper()
	r := &rig{DB: testenv.Postgres(t), t: t, nats: testenv.NATS(t), dir: t.TempDir(), log: &lines{}, clock: &clock{at: time.Now()}}
	r.write("token", token)
	cfg := Config{TokenRefs: []string{r.ref("token")}, BatchSize: 50, MaxMessage: 512 << 10, Parallel: 4, InFlight: 64, AckTimeout: 20 * time.Second, Timeout: 29 * time.Second}
	for _, o := range options {
		o(r, &cfg)
	}
	if r.pool == nil {
		r.pool = r.Pool("runtime_worker")
	}
	nc, js, err := transport.Connect(transport.Config{URL: r.nats.URL()}, "bridge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r.js = r.nats.JetStream()
	service, err := New(cfg, Deps{Pool: r.pool, JS: js, Now: r.clock.now, Log: zerolog.New(r.log).Level(zerolog.InfoLevel)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	r.url = server.URL + Route
	return r
}

func (r *rig) provision() {
	r.t.Helper()
	limits := transport.Limits{Replicas: 1, InteractionsBytes: 64 << 20, EventsBytes: 64 << 20, DLQBytes: 16 << 20}
	if err := transport.Provision(r.t.Context(), r.js, r.Pool("runtime_worker"), limits, time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) ref(name string) string { return "file:" + filepath.Join(r.dir, name) }

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// call is one request, and reply what came back.
type call struct {
	method, token, body string
	header              map[string]string // set, or with "-" taken away
}

type reply struct {
	status  int
	header  http.Header
	problem api.Problem
	told    struct{ Rows, Stored, Duplicates, Quarantined int }
}

func (a reply) code() string {
	return strings.TrimPrefix(a.problem.Type, "urn:event-runtime:problem:")
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// post sends a body as Sequin does.
func (r *rig) post(body string) reply {
	r.t.Helper()
	return r.do(call{method: http.MethodPost, token: token, body: body})
}

func (r *rig) do(c call) reply {
	r.t.Helper()
	got, err := r.try(c)
	if err != nil {
		r.t.Error(err)
	}
	return got
}

func (r *rig) try(c call) (got reply, err error) {
	req, err := http.NewRequestWithContext(r.t.Context(), c.method, r.url, strings.NewReader(c.body))
	if err != nil {
		return got, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	for name, value := range c.header {
		if req.Header.Set(name, value); value == "-" {
			req.Header.Del(name)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	got = reply{status: res.StatusCode, header: res.Header}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		return got, errors.Join(err, json.Unmarshal(text, &got.problem))
	}
	return got, errors.Join(err, json.Unmarshal(text, &got.told))
}

func batch(elements ...string) string { return `{"data":[` + strings.Join(elements, ",") + `]}` }

// element is a message of Sequin's; a change replaces a piece of it.
func message(change ...string) string {
	id := event.NewID(time.Now())
	text := fmt.Sprintf(`{"record":{"tenant_id":"acme-bank","recorded_on":%q,"event_id":%q,"ecosystem":"ofb","event_type":"consent.advanced","version":1,`+
		`"occurred_at":"2026-11-20T11:59:59.500000Z","traceparent":null,"payload":{"n":1.0}},"changes":null,"action":"insert",`+
		`"metadata":{"table_schema":"event_runtime","table_name":"outbox","consumer":{"name":"outbox-bridge"}}}`, id.Day().Format(time.DateOnly), id)
	if len(change) > 0 && !strings.Contains(text, change[0]) {
		panic(change[0])
	}
	return strings.NewReplacer(change...).Replace(text)
}

func messages(n int) (all []string) {
	for range n {
		all = append(all, message())
	}
	return all
}

// inStreams counts the messages of both streams.
func (r *rig) inStreams() (n int) {
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

func (r *rig) wantStored(want int) {
	r.t.Helper()
	if got := r.inStreams(); got != want {
		r.t.Errorf("got %d messages in the streams, want %d", got, want)
	}
}

// aside reads quarantine: "consumer reason" for each row.
func (r *rig) aside() (all []string) {
	r.t.Helper()
	rows, err := r.Conn(testenv.Superuser).Query(r.t.Context(), `SELECT consumer || ' ' || reason FROM event_runtime.quarantine ORDER BY quarantine_id`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, one)
	}
	if rows.Err() != nil {
		r.t.Fatal(rows.Err())
	}
	return all
}

// overhear is told every message as it is published, before a stream changes its
// subject or drops it.
func (r *rig) overhear(room int) <-chan *nats.Msg {
	r.t.Helper()
	nc := r.nats.Conn()
	wire := make(chan *nats.Msg, room)
	for _, subject := range []string{"events.>", "interactions.>"} {
		if _, err := nc.ChanSubscribe(subject, wire); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
	return wire
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(event string) int { return strings.Count(l.String(), `"event":"`+event+`"`) }

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
