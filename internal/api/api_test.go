package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "some_metric 1\n") })

func check(name, why string) Check {
	return Check{Name: name, Do: func(context.Context) string { return why }}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, path string
		checks       []Check
		status       int
		body         string
	}{
		"it turns":                  {"GET", "/livez", nil, 200, `{"status":"ok"}`},
		"it turns, and cannot work": {"GET", "/livez", []Check{check("postgres", "away")}, 200, `{"status":"ok"}`},
		"it can work":               {"GET", "/readyz", []Check{check("postgres", ""), check("nats", "")}, 200, `{"status":"ok"}`},
		"nothing to check":          {"GET", "/readyz", nil, 200, `{"status":"ok"}`},
		"one reason":                {"GET", "/readyz", []Check{check("postgres", "away"), check("nats", "")}, 503, `{"status":"not ready","reasons":{"postgres":"away"}}`},
		"all reasons":               {"GET", "/readyz", []Check{check("postgres", "away"), check("nats", "RECONNECTING")}, 503, `{"status":"not ready","reasons":{"nats":"RECONNECTING","postgres":"away"}}`},
		"metrics":                   {"GET", "/metrics", []Check{check("postgres", "away")}, 200, "some_metric 1"},
		"health is not written":     {"POST", "/livez", nil, 405, "Method Not Allowed"},
		"nothing else is there":     {"GET", "/debug/pprof/", nil, 404, "404 page not found"},
		"nor at the root":           {"GET", "/", nil, 404, "404 page not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			New(Config{}, page, zerolog.Nop(), tc.checks...).Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, nil))
			if got := strings.TrimSpace(w.Body.String()); w.Code != tc.status || got != tc.body {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tc.status, tc.body)
			}
			if strings.HasSuffix(tc.path, "z") && tc.method == "GET" && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json") {
				t.Errorf("got headers %v", w.Header())
			}
		})
	}
}

// A mounted route is served beside the others, and its problems are readable.
func TestMountedRoutesAndProblems(t *testing.T) {
	t.Parallel()
	s := New(Config{}, page, zerolog.Nop())
	s.Mount("/v1/x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p := NewProblem(http.StatusConflict, "running", "It runs", "")
		p.Refusals = []Refusal{{Index: 1, Field: "payload.a", Reason: "unstorable"}}
		p.Write(w)
	}))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/x", nil))
	const want = `{"type":"urn:event-runtime:problem:running","title":"It runs","status":409,"refusals":[{"index":1,"field":"payload.a","reason":"unstorable"}]}`
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusConflict || got != want || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s, want %s", w.Code, got, want)
	}
}

// A check is told when to give up: one that hangs does not hang the answer.
func TestChecksHaveADeadline(t *testing.T) {
	t.Parallel()
	bounded := Check{Name: "slow", Do: func(ctx context.Context) string {
		if _, ok := ctx.Deadline(); !ok {
			return "no deadline"
		}
		return ""
	}}
	if got := New(Config{}, page, zerolog.Nop(), bounded).reasons(t.Context()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// heard gives the address from the line that says it.
type heard chan string

func (h heard) Write(line []byte) (int, error) {
	var said struct{ Event, Addr string }
	if err := json.Unmarshal(line, &said); err == nil && said.Event == "http.listening" {
		h <- said.Addr
	}
	return len(line), nil
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	addr, done := make(heard, 1), make(chan error, 1)
	go func() { done <- New(Config{Addr: "127.0.0.1:0"}, page, zerolog.New(addr)).Run(ctx) }()
	at := <-addr
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("got %s", res.Status)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("at its end: %v", err)
	}
	if again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at); err != nil {
		t.Errorf("the port is still taken: %v", err)
	} else {
		_ = again.Close()
	}
}

func TestAPortThatIsTakenEndsTheProcess(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	at := taken.Addr().String()
	if err := New(Config{Addr: at}, page, zerolog.Nop()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on "+at) {
		t.Errorf("got %v, want it to name the address", err)
	}
}
