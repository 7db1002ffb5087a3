package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
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
			all := map[string]string{"DATABASE_URL": db.URL("runtime_worker"), "NATS_URL": testenv.NATS(t).URL(), "SPOOL_DIR": t.TempDir(), "HTTP_ADDR": "127.0.0.1:0"}
			for _, stream := range []string{"INTERACTIONS", "EVENTS", "DLQ"} { // a test's server has room for little
				all["NATS_STREAM_"+stream+"_MAX_BYTES"] = "67108864"
			}
			if tc.told {
				all["PRODUCER_DATABASE_URL"] = db.URL("runtime_producer")
			}
			cfg, err := Read(t.Context(), envconfig.MapLookuper(all))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			addr, done := make(heard, 1), make(chan error, 1)
			go func() { done <- Serve(ctx, cfg, zerolog.New(addr)) }()
			var at string
			select {
			case at = <-addr:
			case err := <-done:
				t.Fatal(err)
			}
			if got := post(ctx, t, "http://"+at+"/v1/events", token); got != tc.status {
				t.Errorf("got %d, want %d", got, tc.status)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
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
