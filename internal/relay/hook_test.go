package relay

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/sequin"
)

const hookToken = "bridge-token"

// asked is one request that the endpoint got.
type asked struct {
	line   string
	header http.Header
	body   []byte
	status int // the answer
}

// elements are the messages of a request of shape {"data":[…]}.
func (a asked) elements(t *testing.T) []json.RawMessage {
	t.Helper()
	return read[struct{ Data []json.RawMessage }](t, a.body).Data
}

// hook is an endpoint that records, and that fails on command.
type hook struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	all    []asked
	events map[string][]json.RawMessage // what was answered with 200, by its event
	answer func(a asked) int            // nil: 200
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{t: t, events: map[string][]json.RawMessage{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the relay was killed in the middle of it
		}
		h.mu.Lock()
		a := asked{r.Method + " " + r.RequestURI, r.Header, body, http.StatusOK}
		if h.answer != nil {
			a.status = h.answer(a)
		}
		h.all = append(h.all, a)
		if a.status == http.StatusOK && bytes.HasPrefix(body, []byte(`{"data":[{"record"`)) {
			h.note(body)
		}
		h.mu.Unlock()
		w.WriteHeader(a.status)
	}))
	t.Cleanup(h.Close)
	return h
}

// answering changes what the endpoint says from now on.
func (h *hook) answering(f func(a asked) int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

func always(status int) func(asked) int { return func(asked) int { return status } }

func (h *hook) requests() []asked {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// note files the messages of a request under their events.
func (h *hook) note(body []byte) {
	var messages struct{ Data []json.RawMessage }
	if err := json.Unmarshal(body, &messages); err != nil {
		h.t.Errorf("a request that cannot be read: %v", err)
	}
	for _, e := range messages.Data {
		var m struct {
			Record struct {
				ID string `json:"event_id"`
			}
		}
		if err := json.Unmarshal(e, &m); err != nil {
			h.t.Errorf("a message that cannot be read: %v", err)
		}
		h.events[m.Record.ID] = append(h.events[m.Record.ID], e)
	}
}

// taken gives every message that was answered with 200, by its event, with how
// often it came.
func (h *hook) taken() map[string][]json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.events)
}

// count is how many different events were taken.
func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.events)
}

func eventOf(t *testing.T, e []byte) string {
	t.Helper()
	return read[struct {
		Record struct {
			ID string `json:"event_id"`
		}
	}](t, e).Record.ID
}

// wantTaken waits until the endpoint has every row of the outbox.
func (h *hook) wantTaken(r *rig) {
	h.t.Helper()
	want := r.outboxIDs()
	await(h.t, "every row at the endpoint", func() bool { return h.count() >= len(want) })
	got := h.taken()
	for _, id := range want {
		if len(got[id.String()]) == 0 {
			h.t.Errorf("event %s never came", id)
		}
	}
}

// bridgeFile is the shipped file with the endpoint's address, and changes.
func bridgeFile(t *testing.T, url string, changes ...string) string {
	t.Helper()
	changes = append(changes, "${BRIDGE_URL:-http://localhost:8080}", url, "${BRIDGE_TOKEN}", hookToken)
	text := strings.NewReplacer(changes...).Replace(string(sequin.Bridge))
	path := filepath.Join(t.TempDir(), "sequin.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hookRig has the schema of our migrations, an endpoint, and a file that names
// it. There is no NATS.
func hookRig(t *testing.T, changes ...string) (*rig, *hook) {
	t.Helper()
	r, h := hookRigOn(t, testenv.Cluster(t), changes...)
	r.makeSlot()
	return r, h
}

func hookRigOn(t *testing.T, pg *testenv.PostgresServer, changes ...string) (*rig, *hook) {
	t.Helper()
	h := newHook(t)
	r := &rig{t: t, pg: pg, log: &logBook{more: make(chan struct{})}}
	r.cfg = testConfig(pg.URL("runtime_relay"))
	r.cfg.File = bridgeFile(t, h.URL, changes...)
	return r, h
}

// post starts a relay without NATS.
func (r *rig) post() *running {
	r.t.Helper()
	return r.startOn(nil)
}
