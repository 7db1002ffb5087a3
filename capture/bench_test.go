package capture

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// nowhere is a response that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// noStore costs nothing; onlyChecks does everything but ask a database.
var (
	noStore    = storeFunc(func(context.Context, outbox.Event) error { return nil })
	onlyChecks = storeFunc(func(ctx context.Context, e outbox.Event) error {
		_, err := outbox.Append(ctx, noTx{}, e)
		return err
	})
)

type noTx struct{ pgx.Tx }

func (noTx) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, nil
}

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
		"checked":  benchRecorder(b, onlyChecks).Server(opts)(mux),
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

// One commit a call: what a group commit will be compared with.
func BenchmarkPostgres(b *testing.B) {
	db := testenv.Postgres(b)
	r, err := New(db.Pool("runtime_producer"), Config{TenantID: "acme", Ecosystem: "ofb", Wait: defaultWait * 100})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close(b.Context()) }()
	h := r.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/token": answer(200, "t")}))
	b.Run("1 caller", func(b *testing.B) {
		req := httptest.NewRequestWithContext(b.Context(), "POST", "/token", nil)
		for b.Loop() {
			h.ServeHTTP(nowhere{http.Header{}}, req)
		}
	})
	b.Run("64 callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			req := httptest.NewRequestWithContext(b.Context(), "POST", "/token", nil)
			for pb.Next() {
				h.ServeHTTP(nowhere{http.Header{}}, req)
			}
		})
	})
	if got := r.Stats().Server; got.Late+got.Lost > 0 {
		b.Errorf("got %+v", got)
	}
}
