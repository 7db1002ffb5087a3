package capture

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestServerStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    int
	}{
		"nothing written":  {func(http.ResponseWriter, *http.Request) {}, 200},
		"body alone":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }, 200},
		"as written":       {answer(422, "no"), 422},
		"the first counts": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) }, 201},
		"no content":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204},
		"not modified":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304},
		"informational ones do not": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(102)
			w.WriteHeader(202)
		}, 202},
		"flush alone": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": c.handler})))
			res, _ := call(t, "GET", s.URL+"/x", "")
			if got := b.one().StatusCode; got != c.want || res.StatusCode != c.want {
				t.Errorf("recorded %d, answered %d, want %d", got, res.StatusCode, c.want)
			}
		})
	}
}

func TestServerMethods(t *testing.T) {
	t.Parallel()
	for method, recorded := range map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "DELETE": true, "get": false, "M-SEARCH": false, "GO": false} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": answer(200, "")})))
			call(t, method, s.URL+"/x", "")
			if got := b.Stats().Server; got.Captured != count(recorded) || got.Skipped != count(!recorded) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func count(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

func TestServerStatusOutsideOfHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": answer(999, "")})))
	if res, _ := call(t, "GET", s.URL+"/x", ""); res.StatusCode != 999 {
		t.Errorf("got %d", res.StatusCode)
	}
	b.none()
	if got := b.Stats().Server; got != (Counts{Skipped: 1}) {
		t.Errorf("got %+v, want one skipped", got)
	}
}

func TestAPanicIsA500AndGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		wire    string // what the client may have seen
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { panic("boom") }, ""},
		"in the middle":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("half")); panic("boom") }, ""},
		"after a flush": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("rest"))
			panic(http.ErrAbortHandler)
		}, "half"},
		"on purpose":               {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
		"of a status out of range": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(42) }, ""},
		"end of the goroutine":     {func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			describe := func(Call) Details { return Details{ServerOrgID: orgB} } // its recover must not catch the handler's panic
			h := b.Server(ServerOptions{Describe: describe})(routes(map[string]http.HandlerFunc{"/x": c.handler}))
			caught := make(chan any, 1)
			s, l, _ := tapped(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					p := recover()
					caught <- p
					panic(http.ErrAbortHandler)
				}()
				h.ServeHTTP(w, r)
			}))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
			if p := <-caught; p == nil && name != "end of the goroutine" {
				t.Errorf("the panic did not go on")
			}
			answer, _ := io.ReadAll(conn)
			if got := b.one(); got.StatusCode != 500 || got.ServerOrgID != orgB {
				t.Errorf("got %+v, want a 500", got)
			}
			if strings.Contains(string(answer), "rest") || strings.Contains(l.sent(), "rest") || !strings.Contains(string(answer), c.wire) {
				t.Errorf("got %q", answer)
			}
		})
	}
}

func TestTheClientLeavesAndTheRowStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gone := make(chan struct{})
	s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		close(gone)
		<-r.Context().Done()
		w.WriteHeader(201)
	}})))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/x", nil)
	go func() { <-gone; cancel() }()
	if _, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
		t.Fatal("the call was answered")
	}
	if got := b.one().StatusCode; got != 201 {
		t.Errorf("got %d, want what was written", got)
	}
}

func TestARequestThatNeverCame(t *testing.T) {
	t.Parallel()
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(400)
		}
	}
	for name, c := range map[string]struct {
		request string
		half    bool // of the connection is closed then
		handler http.HandlerFunc
		want    int
	}{
		"cut off":                {"Content-Length: 10\r\n\r\nhalf", true, read, 408},
		"cut off between chunks": {"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, read, 408},
		"stalled":                {"Content-Length: 10\r\n\r\nhalf", false, read, 408},
		"badly formed":           {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", false, read, 400},
		"complete":               {"Content-Length: 4\r\n\r\nfull", false, read, 200},
		"too large": {"Content-Length: 10\r\n\r\nhalf", false, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 2)); err != nil {
				w.WriteHeader(413)
			}
		}, 413},
		"cut off, and nobody read it": {"Content-Length: 10\r\n\r\nhalf", true, answer(401, ""), 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				if name == "stalled" {
					_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				}
				c.handler(w, r)
			}})))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: x\r\n"+c.request)
			if c.half {
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			if got := b.one().StatusCode; got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
