package capture

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
)

// nowhere is a response that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// noStore does not ask a database; what comes to it is checked.
var noStore = groupFunc(func(context.Context, []*item) error { return nil })

func benchRecorder(b *testing.B, s store) *Recorder {
	r := newBench(b).Recorder
	r.store = s
	return r
}

// What a middleware costs a call beside the commit.
func BenchmarkServer(b *testing.B) {
	body := []byte(strings.Repeat("x", 4096))
	mux := routes(map[string]http.HandlerFunc{"GET " + accountTemplate: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }})
	opts := ServerOptions{Details: Details{ClientOrgID: orgA, ServerOrgID: orgB}}
	for name, h := range map[string]http.Handler{
		"none":     mux,
		"recorded": benchRecorder(b, noStore).Server(opts)(mux),
	} {
		b.Run(name, func(b *testing.B) {
			req := httptest.NewRequestWithContext(b.Context(), "GET", "/open-banking/accounts/v2/accounts/1", nil)
			req.Header.Set(interactionHeader, anID)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(nowhere{http.Header{}}, req)
			}
		})
	}
}

func BenchmarkClient(b *testing.B) {
	res := &http.Response{StatusCode: 200, Body: http.NoBody}
	transport := roundTrip(func(*http.Request) (*http.Response, error) { return res, nil })
	for name, rt := range map[string]http.RoundTripper{
		"none":     transport,
		"recorded": benchRecorder(b, noStore).Client(transport, ClientOptions{Details: Details{ClientOrgID: orgA, ServerOrgID: orgB, ClientSSID: anID}}),
	} {
		b.Run(name, func(b *testing.B) {
			req := httptest.NewRequestWithContext(named(b.Context()), "GET", "https://bank.example/open-banking/accounts/v2/accounts/1", nil)
			req.Header.Set(interactionHeader, anID)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = rt.RoundTrip(req)
			}
		})
	}
}

// What a call costs with its commit, on a disk that is asked to keep it. Single is
// a transaction a call on up to Config.Writers connections, without groups.
func BenchmarkPostgres(b *testing.B) {
	db := testenv.Cluster(b, testenv.Durable())
	pool := db.Pool("runtime_producer")
	for name, c := range map[string]struct {
		callers int
		single  bool
		as      Durability
	}{
		"1 caller": {1, false, Durable}, "1 caller, single": {1, true, Durable},
		"64 callers": {64, false, Durable}, "64 callers, single": {64, true, Durable},
		"64 callers, relaxed": {64, false, Relaxed}, "64 callers, relaxed, single": {64, true, Relaxed},
	} {
		b.Run(name, func(b *testing.B) {
			r, err := New(pool, Config{TenantID: "acme", Ecosystem: "ofb", Wait: time.Minute, Durability: c.as})
			if err != nil {
				b.Fatal(err)
			}
			if c.single {
				r.writers.grouping, r.writers.slow = 1, 0
			}
			defer func() { _ = r.Close(b.Context()) }()
			var groups atomic.Int64
			inner := r.store
			r.store = groupFunc(func(ctx context.Context, group []*item) error {
				groups.Add(1)
				return inner.put(ctx, group)
			})
			h := r.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/token": answer(200, "t")}))
			calls := func(n *atomic.Int64) {
				req := httptest.NewRequestWithContext(b.Context(), "POST", "/token", nil)
				for n.Add(-1) >= 0 {
					h.ServeHTTP(nowhere{http.Header{}}, req)
				}
			}
			var left atomic.Int64
			left.Store(int64(c.callers)) // connections and statements are made before the clock runs
			together(c.callers, func() { calls(&left) })
			left.Store(int64(b.N))
			groups.Store(0)
			b.ResetTimer()
			together(c.callers, func() { calls(&left) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			b.ReportMetric(float64(b.N)/float64(groups.Load()), "calls/commit")
			if got := r.Stats().Server; got.Late+got.Lost > 0 {
				b.Errorf("got %+v", got)
			}
		})
	}
}

func together(n int, f func()) {
	var work sync.WaitGroup
	for range n {
		work.Go(f)
	}
	work.Wait()
}
