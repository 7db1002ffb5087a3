package capture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHijackRecordsAtTheHijack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hijack func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error)
		before func(http.ResponseWriter)
		want   int
	}{
		"by type": {hijack: func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() }, want: 101},
		"by controller": {hijack: func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		}, want: 101},
		"after a header": {
			hijack: func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
			before: func(w http.ResponseWriter) { w.WriteHeader(200) }, want: 200,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			rows := make(chan int, 1)
			s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, _ *http.Request) {
				if c.before != nil {
					c.before(w)
				}
				conn, rw, err := c.hijack(w)
				if err != nil {
					t.Error(err)
					return
				}
				rows <- len(b.db.all())
				if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
					t.Errorf("got %v, want ErrHijacked", err)
				}
				if _, _, err := c.hijack(w); err == nil {
					t.Errorf("hijacked twice")
				}
				_, _ = rw.WriteString("raw")
				_ = rw.Flush()
				_ = conn.Close()
				panic(http.ErrAbortHandler) // it is recorded already
			}})))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
			answer, _ := io.ReadAll(conn)
			if got := <-rows; got != 1 {
				t.Errorf("got %d rows when the connection was handed over, want 1", got)
			}
			if got := b.one().StatusCode; got != c.want || !strings.HasSuffix(string(answer), "raw") {
				t.Errorf("got %d and %q, want %d", got, answer, c.want)
			}
		})
	}
}

// A handler finds the abilities of the server's own writer, and no others.
func TestWriterHasTheServersAbilities(t *testing.T) {
	t.Parallel()
	type abilities struct{ Flush, Hijack, Push, ReadFrom, WriteString bool }
	of := func(w http.ResponseWriter) (a abilities) {
		_, a.Flush = w.(http.Flusher)
		_, a.Hijack = w.(http.Hijacker)
		_, a.Push = w.(http.Pusher)
		_, a.ReadFrom = w.(io.ReaderFrom)
		_, a.WriteString = w.(io.StringWriter)
		return a
	}
	type plain struct{ http.ResponseWriter }
	type unwrapping struct{ unwrapper }
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"net/http":        func(w http.ResponseWriter) http.ResponseWriter { return w },
		"plain":           func(w http.ResponseWriter) http.ResponseWriter { return plain{w} },
		"wrapped, opened": func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{unwrapper{w}} },
		"flush alone": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Flusher
			}{w, nil}
		},
		"hijack alone": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Hijacker
			}{w, nil}
		},
		"push alone": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Pusher
			}{w, nil}
		},
		"flush and push": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Flusher
				http.Pusher
			}{w, nil, nil}
		},
		"hijack and push": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Hijacker
				http.Pusher
			}{w, nil, nil}
		},
		"all": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Flusher
				http.Hijacker
				http.Pusher
			}{w, nil, nil, nil}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			got, want := make(chan abilities, 1), make(chan abilities, 1)
			h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, _ *http.Request) { got <- of(w) }}))
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				outer := wrap(w)
				a := of(outer)
				a.ReadFrom, a.WriteString = true, true
				if name == "wrapped, opened" {
					a.Flush, a.Hijack = true, true // by http.ResponseController
				}
				want <- a
				h.ServeHTTP(outer, r)
			}))
			call(t, "GET", s.URL+"/x", "")
			if got, want := <-got, <-want; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

type unwrapper struct{ w http.ResponseWriter }

func (u unwrapper) Header() http.Header { return u.w.Header() }

func (u unwrapper) Write(p []byte) (int, error) { return u.w.Write(p) }

func (u unwrapper) WriteHeader(code int) { u.w.WriteHeader(code) }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.w }

func TestControllerReachesTheConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		for what, err := range map[string]error{
			"read deadline": rc.SetReadDeadline(time.Now().Add(time.Minute)), "write deadline": rc.SetWriteDeadline(time.Now().Add(time.Minute)),
			"full duplex": rc.EnableFullDuplex(), "flush": rc.Flush(),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}})))
	call(t, "GET", s.URL+"/x", "")
	b.one()
}

func TestFullDuplex(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			_, _ = w.Write(append(bytes.ToUpper(lines.Bytes()), '\n'))
			_ = rc.Flush()
		}
	}})))
	out, in := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/x", out)
	go func() { _, _ = io.WriteString(in, "one\n") }()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(res.Body)
	for _, word := range []string{"ONE\n", "TWO\n"} {
		if got, err := answers.ReadString('\n'); got != word || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, word)
		}
		if word == "ONE\n" {
			_, _ = io.WriteString(in, "two\n")
		}
	}
	_ = in.Close()
	_, _ = io.ReadAll(answers)
	_ = res.Body.Close()
	if got := b.one().StatusCode; got != 200 {
		t.Errorf("got %d", got)
	}
}

func TestContinueAndEarlyHintsReachTheClient(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // makes the server say 100 Continue
		w.WriteHeader(103)
		w.WriteHeader(200)
	}})))
	var informational []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		informational = append(informational, code)
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/x", strings.NewReader("body"))
	req.Header.Set("Expect", "100-continue")
	res, err := (&http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if len(informational) != 2 || informational[0] != 100 || informational[1] != 103 {
		t.Errorf("got %v, want [100 103]", informational)
	}
	b.one()
}

func TestFilesAndHTTP2(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "f")
	content := strings.Repeat("0123456789", 50_000)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }}))
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, header := range []string{"", "bytes=10-19"} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/x", nil)
		req.Header.Set("Range", header)
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := content
		if header != "" {
			want = content[10:20]
		}
		if string(body) != want || res.ProtoMajor != 2 || res.ContentLength != int64(len(want)) {
			t.Errorf("got %d bytes of %d over %s", len(body), res.ContentLength, res.Proto)
		}
	}
	if got := b.Stats().Server.Captured; got != 2 {
		t.Errorf("got %d captured, want 2", got)
	}
}

// Routers ask for it without looking whether it is there.
func TestAHandlerHearsThatTheClientIsGone(t *testing.T) {
	t.Parallel()
	for name, bare := range map[string]bool{"the server can say it": false, "it cannot": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			began, heard := make(chan struct{}), make(chan struct{})
			h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/stream": func(w http.ResponseWriter, _ *http.Request) {
				gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
				close(began)
				<-gone
				close(heard)
			}}))
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if bare {
					w = struct{ http.ResponseWriter }{w}
				}
				h.ServeHTTP(w, r)
			}))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
				if err == nil {
					_ = res.Body.Close()
				}
				ended <- err
			}()
			<-began
			leave()
			select {
			case <-heard:
			case <-time.After(time.Minute):
				t.Error("after a minute the handler has not heard that the client is gone")
			}
			if err := <-ended; err == nil {
				t.Error("the client left, but its call ended well")
			}
			b.one()
		})
	}
}
