package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// step is one thing that a handler does, and says how it went.
type step func(w http.ResponseWriter) string

var anyHeader = rapid.SampledFrom([][2]string{
	{"X-A", "1"}, {"X-A", "2"}, {"Content-Type", "text/csv"}, {"Trailer", "X-T"}, {"X-T", "sum"}, {http.TrailerPrefix + "X-U", "u"}, {"Cache-Control", "no-store"},
})

// Lengths that are not true: HTTP/1 refuses what is written beyond them, while
// HTTP/2 notices later or not at all.
var anyLength = rapid.SampledFrom([][2]string{
	{"Content-Length", "0"}, {"Content-Length", "100"}, {"Content-Length", "70000"}, {"Content-Length", "x"}, {"Connection", "close"},
})

func setting(kv [2]string) step {
	return func(w http.ResponseWriter) string { w.Header().Set(kv[0], kv[1]); return "set" }
}

var anyStep = rapid.OneOf(
	rapid.Map(anySize, func(n int) step {
		return func(w http.ResponseWriter) string { return outcome(w.Write(bytes.Repeat([]byte("w"), n))) }
	}),
	rapid.Map(anySize, func(n int) step {
		return func(w http.ResponseWriter) string { return outcome(io.WriteString(w, strings.Repeat("s", n))) }
	}),
	rapid.Map(rapid.SampledFrom([]int{102, 103, 200, 201, 204, 304, 404, 500, 999}), func(code int) step {
		return func(w http.ResponseWriter) string { w.WriteHeader(code); return "header" }
	}),
	rapid.Just[step](func(w http.ResponseWriter) string { w.(http.Flusher).Flush(); return "flush" }),
	rapid.Just[step](func(w http.ResponseWriter) string {
		_ = http.NewResponseController(w).Flush() // HTTP/2 tells the handler, now and then, that a HEAD is over
		return "flush"
	}),
	rapid.Map(anyHeader, setting),
)

var anySize = rapid.OneOf(rapid.SampledFrom([]int{0, 1, 99, 100, 511, 2047, 2048, 2049, 4096, 65_535, 65_536, 65_537, 70_000, 200_000}), rapid.IntRange(0, 5000))

func outcome(n int, err error) string {
	for _, known := range []error{http.ErrBodyNotAllowed, http.ErrContentLength} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprint(n, err == nil)
}

// seen is all that a client can tell of an answer, and what the handler heard.
type seen struct {
	Status  int
	Length  int64
	Coding  []string
	Header  http.Header
	Trailer http.Header
	Body    string
	Broken  bool
	Heard   []string
}

// Whatever a handler does, its client and itself cannot tell whether the call is
// recorded.
func TestTheAnswerIsTheSame(t *testing.T) {
	t.Parallel()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var steps atomic.Pointer[[]step]
			heard := make(chan []string, 1)
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var said []string
				defer func() { heard <- said }()
				_, _ = io.Copy(io.Discard, r.Body)
				for _, do := range *steps.Load() {
					said = append(said, do(w))
				}
			})
			var under sync.WaitGroup
			middleware := b.Server(ServerOptions{Template: func(*http.Request) string { return "/x" }})(handler)
			plain, recorded := sameServer(t, handler, http2), sameServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer under.Done()
				middleware.ServeHTTP(w, r)
			}), http2)
			calls, anyOf := int64(0), rapid.OneOf(anyStep, rapid.Map(anyLength, setting))
			if http2 {
				anyOf = anyStep
			}
			rapid.Check(t, func(rt *rapid.T) {
				method := rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(rt, "method")
				do := rapid.SliceOfN(anyOf, 0, 8).Draw(rt, "steps")
				steps.Store(&do)
				want := see(t, plain, method, heard)
				under.Add(1)
				got := see(t, recorded, method, heard)
				if http2 {
					got.Heard, want.Heard = nil, nil // a client may end a stream that it has all of
				}
				if !reflect.DeepEqual(got, want) {
					rt.Fatalf("got  %s\nwant %s", got, want)
				}
				calls++
			})
			under.Wait() // a client may have its answer while the handler flushed and goes on
			if got := b.Stats().Server; got.Captured+got.Skipped != calls {
				t.Errorf("got %+v, want %d in all", got, calls)
			}
		})
	}
}

func (s seen) String() string {
	return fmt.Sprint(s.Status, s.Length, s.Coding, s.Header, s.Trailer, len(s.Body), s.Broken, s.Heard)
}

func sameServer(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func see(t *testing.T, s *httptest.Server, method string, heard <-chan []string) (r seen) {
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("body")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "k") // a connection that the server is closing is no answer: sent again then
	res, err := s.Client().Transport.RoundTrip(req)
	if err == nil {
		text, failed := io.ReadAll(res.Body)
		_ = res.Body.Close()
		header := maps.Clone(res.Header)
		header.Del("Date")
		header.Del(interactionHeader)
		r = seen{Status: res.StatusCode, Length: res.ContentLength, Coding: res.TransferEncoding, Header: header, Trailer: res.Trailer, Body: string(text)}
		err = failed
	}
	r.Broken = err != nil
	r.Heard = <-heard
	return r
}
