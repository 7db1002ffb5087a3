package app

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
)

// heard gives the address from the line that says it.
type heard chan string

func (h heard) Write(line []byte) (int, error) {
	var said struct{ Event, Addr string }
	if err := json.Unmarshal(line, &said); err == nil && said.Event == "http.listening" {
		h <- said.Addr
	}
	return len(line), nil
}

// serving runs a worker, with more settings than it must have, until stop.
func serving(t *testing.T, db *testenv.DB, more map[string]string) (address string, stop func()) {
	t.Helper()
	all := map[string]string{"DATABASE_URL": db.URL("runtime_worker"), "NATS_URL": testenv.NATS(t).URL(), "SPOOL_DIR": t.TempDir(), "HTTP_ADDR": "127.0.0.1:0"}
	for _, stream := range []string{"INTERACTIONS", "EVENTS", "DLQ"} { // a test's server has room for little
		all["NATS_STREAM_"+stream+"_MAX_BYTES"] = "67108864"
	}
	maps.Copy(all, more)
	cfg, err := Read(t.Context(), envconfig.MapLookuper(all))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	addr, done := make(heard, 1), make(chan error, 1)
	go func() { done <- Serve(ctx, cfg, zerolog.New(addr)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case at := <-addr:
		return "http://" + at, stop
	case err := <-done:
		done <- err
		t.Fatalf("the worker ended: %v", err)
		return "", stop
	}
}

// A worker takes events over HTTP if it was told how to write them.
func TestEventsArePostedToAWorker(t *testing.T) { // not parallel: it sets the token in the environment, and meters are global
	const token = "a-token-of-acme-0123456789-0123456789"
	t.Setenv("ACME_TOKEN", token)
	for name, tc := range map[string]struct {
		told   bool
		status int
		events int
	}{
		"with an address of its own": {true, http.StatusCreated, 1}, "without": {false, http.StatusNotFound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			db := testenv.Postgres(t)
			db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme')`)
			db.Exec(`INSERT INTO event_runtime.api_tokens (tenant_id, token_ref) VALUES ('acme-bank', 'env:ACME_TOKEN')`)
			more := map[string]string{}
			if tc.told {
				more["PRODUCER_DATABASE_URL"] = db.URL("runtime_producer")
			}
			at, stop := serving(t, db, more)
			if got := post(t.Context(), t, at+"/v1/events", token); got != tc.status {
				t.Errorf("got %d, want %d", got, tc.status)
			}
			stop()
			var events int
			if err := db.Conn("runtime_worker").QueryRow(t.Context(), `SELECT count(*) FROM event_runtime.outbox WHERE tenant_id = 'acme-bank'`).Scan(&events); err != nil || events != tc.events {
				t.Errorf("got %d events, %v, want %d", events, err, tc.events)
			}
		})
	}
}

func post(ctx context.Context, t *testing.T, address, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"events":[{"ecosystem":"ofb","event_type":"proposal.made","payload":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + token, "Idempotency-Key": "k", "Content-Type": "application/json"} {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
