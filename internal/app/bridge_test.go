package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
)

// A worker takes Sequin's batches if it was told a token, and has no such route
// otherwise.
func TestBatchesArePostedToAWorker(t *testing.T) { // not parallel: meters are global
	const token = "a-token-of-the-bridge-0123456789-0123456789"
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		refs   string
		status int
	}{
		"with a token": {"file:" + path, http.StatusOK}, "without": {"", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			at, stop := serving(t, testenv.Postgres(t), map[string]string{"BRIDGE_TOKEN_REFS": tc.refs})
			if got := carry(t.Context(), t, at+"/sequin/outbox", token); got != tc.status {
				t.Errorf("got %d, want %d", got, tc.status)
			}
			stop()
		})
	}
}

func carry(ctx context.Context, t *testing.T, address, token string) int {
	t.Helper()
	id := event.NewID(time.Now())
	row, err := json.Marshal(map[string]any{"tenant_id": "acme-bank", "event_id": id, "recorded_on": id.Day().Format(time.DateOnly), "ecosystem": "ofb", "event_type": "proposal.made", "payload": struct{}{}})
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"data":[{"record":%s,"action":"insert","metadata":{"table_schema":"event_runtime","table_name":"outbox"}}]}`, row)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
