package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/sequin"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
)

// A relay whose file names the bridge posts there, and needs nothing of NATS.
func TestTheRelayPostsToTheBridge(t *testing.T) { // not parallel: meters are global, and the file reads the environment
	pg := testenv.Cluster(t)
	if _, err := migrations.EnsureSlot(t.Context(), pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer bridge.Close()
	t.Setenv("BRIDGE_URL", bridge.URL)
	t.Setenv("BRIDGE_TOKEN", "from-the-environment")
	file := filepath.Join(t.TempDir(), "sequin.bridge.yaml")
	if err := os.WriteFile(file, sequin.Bridge, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ReadRelay(t.Context(), envconfig.MapLookuper(map[string]string{
		"RELAY_DATABASE_URL": pg.URL("runtime_relay"), "RELAY_SEQUIN_FILE": file, "RELAY_HTTP_ADDR": "127.0.0.1:0",
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Relay(ctx, cfg, zerolog.Nop()) }()
	pg.Exec(`SELECT event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{"n": 1}')`)
	select {
	case request := <-got:
		if !strings.HasPrefix(request, `POST /sequin/outbox Bearer from-the-environment {"data":[{"record":{`) {
			t.Errorf("got %.200s", request)
		}
	case err := <-done:
		t.Fatalf("the relay ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("got %v at the end, want nothing", err)
	}
}

// Without a file it is NATS, and a file that is wrong is said before NATS is.
func TestTheRelayNeedsNATS(t *testing.T) {
	t.Parallel()
	_, err := ReadRelay(t.Context(), envconfig.MapLookuper(map[string]string{"RELAY_DATABASE_URL": "postgres://localhost/runtime"}))
	if err == nil || !strings.Contains(err.Error(), "NATS_URL") {
		t.Errorf("got %v, want NATS_URL to be asked for", err)
	}
	cfg, err := ReadRelay(t.Context(), envconfig.MapLookuper(map[string]string{
		"RELAY_DATABASE_URL": "postgres://localhost/runtime", "NATS_URL": "nats://127.0.0.1:1", "RELAY_SEQUIN_FILE": "/nowhere.yaml",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := Relay(t.Context(), cfg, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "RELAY_SEQUIN_FILE") {
		t.Errorf("got %v, want the file to be named", err)
	}
}
