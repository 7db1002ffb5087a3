package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestStatementsFitTheSchema(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}

// Tokens of two tenants.
const (
	acmeToken = "acme-token-0123456789-0123456789-0123"
	betaToken = "beta-token-0123456789-0123456789-0123"
)

const plain = `{"ecosystem":"ofb","event_type":"consent.advanced","payload":{"state":"B"}}`

func batch(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

// rig is a service with its database and its address.
type rig struct {
	*testenv.DB
	t       *testing.T
	pool    *pgxpool.Pool // the service's
	proxy   *testenv.FaultProxy
	tenants *tenant.Directory
	dir     string // of token files
	url     string
	log     *lines
	clock   *clock
}

type option func(*rig, *Config)

// proxied puts a fault proxy between the service and its database.
func proxied(r *rig, _ *Config) {
	address, err := url.Parse(r.URL("runtime_producer"))
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

func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	r := &rig{DB: testenv.Postgres(t), t: t, dir: t.TempDir(), log: &lines{}, clock: &clock{at: time.Now()}}
	r.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme'), ('beta', 'Beta')`)
	r.token("acme-bank", "acme", acmeToken)
	r.token("beta", "beta", betaToken)
	cfg := Config{MaxBytes: 1 << 20, MaxEvents: 1000, Parallel: 8, Timeout: 30 * time.Second}
	for _, o := range options {
		o(r, &cfg)
	}
	if r.pool == nil {
		r.pool = r.Pool("runtime_producer")
	}
	log := zerolog.New(r.log)
	var err error
	if r.tenants, err = tenant.Open(t.Context(), r.Pool("runtime_worker"), log); err != nil {
		t.Fatal(err)
	}
	service, err := New(cfg, Deps{Pool: r.pool, Tenants: r.tenants.Snapshot, Now: r.clock.now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	r.url = server.URL + Route
	return r
}

// token writes a token and its reference.
func (r *rig) token(tenant, name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.Exec(`INSERT INTO event_runtime.api_tokens (token_ref, tenant_id) VALUES ($1, $2)`, "file:"+path, tenant)
}

// refresh is what a notification brings about.
func (r *rig) refresh() {
	r.t.Helper()
	if err := r.tenants.Refresh(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// call is one request, and reply what came back.
type call struct {
	method, token, key, body string
	header                   map[string]string // set, or with "-" taken away
}

type reply struct {
	status  int
	body    string
	header  http.Header
	problem api.Problem
	ids     []string
}

// good is a request that is taken.
func good(key string) call {
	return call{method: http.MethodPost, token: acmeToken, key: key, body: batch(plain, plain)}
}

func (c call) with(change func(*call)) call { change(&c); return c }

func (r *rig) request(ctx context.Context, address string, c call) *http.Request {
	req, err := http.NewRequestWithContext(ctx, c.method, address, strings.NewReader(c.body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Idempotency-Key", c.key)
	for name, value := range c.header {
		if req.Header.Set(name, value); value == "-" {
			req.Header.Del(name)
		}
	}
	return req
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// do sends c and reads the answer.
func (r *rig) do(c call) reply {
	got, err := r.try(r.url, c)
	if err != nil {
		r.t.Error(err)
	}
	return got
}

func (r *rig) try(address string, c call) (got reply, err error) {
	res, err := client.Do(r.request(r.t.Context(), address, c))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	body, err := io.ReadAll(res.Body)
	got = reply{status: res.StatusCode, header: res.Header, body: string(body)}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		return got, errors.Join(err, json.Unmarshal(body, &got.problem))
	}
	var said struct{ IDs []string }
	if c.method != http.MethodHead {
		err = errors.Join(err, json.Unmarshal(body, &said))
	}
	got.ids = said.IDs
	return got, err
}

// code is what a problem's type ends in.
func (a reply) code() string {
	return strings.TrimPrefix(a.problem.Type, "urn:event-runtime:problem:")
}

func (r *rig) count(sql string, args ...any) (n int) {
	r.t.Helper()
	if err := r.Conn(testenv.Superuser).QueryRow(r.t.Context(), sql, args...).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// want compares how many events and keys there are.
func (r *rig) want(events, keys int) {
	r.t.Helper()
	if got := r.count(`SELECT count(*) FROM event_runtime.outbox`); got != events {
		r.t.Errorf("got %d events, want %d", got, events)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.idempotency_keys`); got != keys {
		r.t.Errorf("got %d keys, want %d", got, keys)
	}
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
