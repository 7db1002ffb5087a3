package bridge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/rs/zerolog"
)

// BenchmarkBatch is what a batch of fifty rows of some 600 bytes costs, one batch
// at a time.
func BenchmarkBatch(b *testing.B) {
	server, db := testenv.NATS(b), testenv.Postgres(b)
	limits := transport.Limits{Replicas: 1, InteractionsBytes: 1 << 30, EventsBytes: 1 << 30, DLQBytes: 1 << 20}
	nc, js, err := transport.Connect(transport.Config{URL: server.URL()}, "bridge")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	if err := transport.Provision(b.Context(), js, db.Pool("runtime_worker"), limits, time.Now()); err != nil {
		b.Fatal(err)
	}
	b.Setenv("BENCH_TOKEN", token)
	service, err := New(Config{TokenRefs: []string{"env:BENCH_TOKEN"}, BatchSize: 50, MaxMessage: 512 << 10, Parallel: 4, InFlight: 256, AckTimeout: 20 * time.Second, Timeout: 29 * time.Second},
		Deps{Pool: db.Pool("runtime_worker"), JS: js, Now: time.Now, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	const rows = 50
	filler := `{"text":"` + strings.Repeat("x", 200) + `"}`
	for b.Loop() {
		b.StopTimer()
		var elements []string
		for range rows {
			elements = append(elements, message(`{"n":1.0}`, filler))
		}
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, Route, strings.NewReader(batch(elements...)))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		b.StartTimer()
		if service.ServeHTTP(answer, req); answer.Code != http.StatusOK {
			b.Fatal(answer.Code, answer.Body)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
