package capture

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Nothing of the last write is on the wire before the row is committed, and
// everything before it may be.
func TestTheLastWriteWaitsForTheRow(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("b", 10_000) // more than net/http buffers
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		before  []string // on the wire when the row is committed
		not     []string // not yet
		body    string
	}{
		"one write": {answer(200, "last"), nil, []string{"HTTP/1.1", "last"}, "last"},
		"two large writes": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "first"+big)
			_, _ = io.WriteString(w, "second"+big)
		}, []string{"HTTP/1.1", "first"}, []string{"second"}, "first" + big + "second" + big},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "second")
			w.(http.Flusher).Flush()
		}, []string{"first", "second"}, []string{"\r\n0\r\n"}, "firstsecond"},
		"flushed, then written": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "second")
		}, []string{"first"}, []string{"second"}, "firstsecond"},
		"a header alone": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, nil, []string{"HTTP/1.1"}, ""},
		"nothing at all": {func(http.ResponseWriter, *http.Request) {}, nil, []string{"HTTP/1.1"}, ""},
		"an empty write": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }, nil, []string{"HTTP/1.1"}, ""},
		"informational": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "early")
			w.WriteHeader(103)
			_, _ = io.WriteString(w, "last")
		}, []string{"103 Early Hints", "early"}, []string{"200 OK", "last"}, "last"},
		"one huge write": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("first" + strings.Repeat("x", 1<<20) + "last"))
		}, []string{"first"}, []string{"last"}, "first" + strings.Repeat("x", 1<<20) + "last"},
		"copied from a reader": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("first" + strings.Repeat("x", 100_000) + "last")})
		}, []string{"first"}, []string{"last"}, "first" + strings.Repeat("x", 100_000) + "last"},
		"a trailer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "last")
			w.Header().Set("X-Sum", "s")
			w.Header().Set("X-Too-Late", "l")
		}, nil, []string{"HTTP/1.1"}, "last"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s, _, atCommit := tapped(t, b, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": c.handler})))
			res, body := call(t, "GET", s.URL+"/x", "")
			wire := <-atCommit
			for _, text := range c.before {
				if !strings.Contains(wire, text) {
					t.Errorf("%q was not on the wire before the commit", text)
				}
			}
			for _, text := range c.not {
				if strings.Contains(wire, text) {
					t.Errorf("%q was on the wire before the commit", text)
				}
			}
			if body != c.body {
				t.Errorf("got %d bytes, want %d", len(body), len(c.body))
			}
			if name == "a trailer" && (res.Trailer.Get("X-Sum") != "s" || res.Header.Get("X-Too-Late") != "") {
				t.Errorf("got trailer %v, header %v", res.Trailer, res.Header)
			}
			b.one()
		})
	}
}

func TestMemoryHeldIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	largest := 0
	h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		for _, n := range []int{1, 65_536, 65_537, 1 << 22} {
			_, _ = w.Write(make([]byte, n))
			largest = max(largest, cap(exchangeIn(r.Context()).response.held))
		}
	}}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
	if largest > 2*maxHeld {
		t.Errorf("got %d bytes held, want at most %d", largest, maxHeld)
	}
	b.one()
}

func TestTheTimespanEndsWithTheSending(t *testing.T) {
	t.Parallel()
	write := func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	work := func(http.ResponseWriter) { time.Sleep(30 * time.Millisecond) }
	hang := func(http.ResponseWriter) { time.Sleep(25 * time.Hour) }
	type steps []func(http.ResponseWriter)
	for name, c := range map[string]struct {
		steps steps
		want  float64
	}{
		"work before the answer":  {steps{work, write}, 30},
		"no work at all":          {steps{write}, 0.001}, // zero is refused
		"a stream":                {steps{write, flush, work, write, flush, work, write}, 60},
		"work after the flush":    {steps{work, write, flush, work}, 30},
		"work with bytes waiting": {steps{work, write, work}, 60}, // they leave when the handler returns
		"an empty answer":         {steps{work}, 30},
		"more than a day":         {steps{hang}, 86_400_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.db.commit = func(context.Context) error { time.Sleep(time.Second); return nil } // no part of it
				h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, _ *http.Request) {
					for _, step := range c.steps {
						step(w)
					}
				}}))
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
				if got := b.one(); got.ProcessTimespan != c.want || got.Timestamp != "2000-01-01T00:00:00.000000Z" {
					t.Errorf("got %v ms from %s, want %v", got.ProcessTimespan, got.Timestamp, c.want)
				}
			})
		})
	}
}
