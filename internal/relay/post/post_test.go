package post

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is one request as it came.
type seen struct {
	at     time.Time
	line   string // method and path
	header http.Header
	body   string
}

// endpoint answers by a script, and remembers what it was asked.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
}

func serve(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		e.requests = append(e.requests, seen{time.Now(), r.Method + " " + r.RequestURI, r.Header, string(body)})
		n := len(e.requests)
		e.mu.Unlock()
		answer(n, w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) all() []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

func client(t *testing.T, e Endpoint, timeout time.Duration) *Client {
	t.Helper()
	c := New(e, timeout, func() float64 { return 0.5 })
	t.Cleanup(c.Close)
	return c
}

const patience = 60 * time.Second

var two = [][]byte{[]byte(`{"a":1}`), []byte(`{"b":2}`)}

func status(codes ...int) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(codes[min(n, len(codes))-1]) }
}

// TestC24Answers is C22, C23 and C24: which answers are a success, which are asked
// for once more inside the attempt, and which end it.
func TestC24Answers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codes    []int
		requests int
		failure  string
	}{
		"C24 200":                   {[]int{200}, 1, ""},
		"C24 204":                   {[]int{204}, 1, ""},
		"C24 413":                   {[]int{413}, 1, Refused},
		"C23 400":                   {[]int{400}, 1, Refused},
		"410 means nothing special": {[]int{410}, 1, Refused},
		"501 does not pass":         {[]int{501}, 1, Failing},
		"304 is none":               {[]int{304}, 1, Redirected},
		"C22 500, then 200":         {[]int{500, 200}, 2, ""},
		"500 twice":                 {[]int{500, 500, 200}, 2, Failing},
		"408":                       {[]int{408, 200}, 2, ""},
		"429":                       {[]int{429, 200}, 2, ""},
		"502":                       {[]int{502, 200}, 2, ""},
		"503":                       {[]int{503, 200}, 2, ""},
		"504, then something final": {[]int{504, 400}, 2, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, status(c.codes...))
			err := client(t, Endpoint{Address: e.URL, Batch: true}, patience).Send(t.Context(), Target{}, two)
			var f *Failure
			if errors.As(err, &f) != (c.failure != "") || f != nil && f.Code != c.failure {
				t.Errorf("got %v, want %q", err, c.failure)
			}
			all := e.all()
			if len(all) != c.requests {
				t.Fatalf("got %d requests, want %d", len(all), c.requests)
			}
			if len(all) == 2 {
				if all[0].body != all[1].body {
					t.Errorf("got another body the second time: %s", all[1].body)
				}
				if waited := all[1].at.Sub(all[0].at); waited < resendAfter*85/100 {
					t.Errorf("sent again after %v, want at least %v", waited, resendAfter*85/100)
				}
			}
		})
	}
}

func TestC25TimeOut(t *testing.T) {
	t.Parallel()
	if Timeout != 30*time.Second {
		t.Errorf("got %v, want what Sequin waits", Timeout)
	}
	gone := make(chan struct{})
	e := serve(t, func(n int, _ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // nobody waits for the answer any more
		if n == 2 {
			close(gone)
		}
	})
	err := client(t, Endpoint{Address: e.URL}, 300*time.Millisecond).Send(t.Context(), Target{}, two[:1])
	var f *Failure
	if !errors.As(err, &f) || f.Code != TimedOut {
		t.Errorf("got %v, want %s", err, TimedOut)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the request was not sent once more")
	}
	if n := len(e.all()); n != 2 {
		t.Errorf("got %d requests, want 2", n)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secret := "http://" + l.Addr().String() + "/hook-s3cret"
	_ = l.Close()
	began := time.Now()
	err = client(t, Endpoint{Address: secret}, patience).Send(t.Context(), Target{}, two[:1])
	var f *Failure
	if !errors.As(err, &f) || f.Code != Unreachable || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want %s without the address", err, Unreachable)
	}
	if time.Since(began) < resendAfter*85/100 {
		t.Error("it was not tried once more")
	}
}

func TestC24Redirects(t *testing.T) {
	t.Parallel()
	far := serve(t, status(200))
	for name, c := range map[string]struct {
		to      string // empty: this server's /there
		code    int
		then    int
		line    string
		failure string
		auth    string
	}{
		"302 to 200":                {"", 302, 200, "GET /there", "", "Bearer x"},
		"307 keeps the request":     {"", 307, 200, "POST /there", "", "Bearer x"},
		"302 to 400":                {"", 302, 400, "GET /there", Refused, "Bearer x"},
		"308 to another origin":     {far.URL + "/there", 308, 200, "POST /there", "", ""},
		"in circles, more than ten": {"", 307, 307, "", Redirected, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				to, code := c.to, c.code
				if to == "" {
					to = "/there"
				}
				if n > 1 {
					code = c.then
				}
				if code/100 == 3 {
					w.Header().Set("Location", to)
				}
				w.WriteHeader(code)
			})
			err := client(t, Endpoint{Address: e.URL, Batch: true, Headers: map[string]string{"authorization": "Bearer x", "x-other": "y"}}, patience).Send(t.Context(), Target{}, two)
			var f *Failure
			if errors.As(err, &f) != (c.failure != "") || f != nil && f.Code != c.failure {
				t.Errorf("got %v, want %q", err, c.failure)
			}
			at := e
			if c.to != "" {
				at = far
			}
			all := at.all()
			if c.line == "" {
				if len(all) != mostRedirects+1 {
					t.Errorf("got %d requests, want %d", len(all), mostRedirects+1)
				}
				return
			}
			last := all[len(all)-1]
			if last.line != c.line || last.header.Get("Authorization") != c.auth || last.header.Get("X-Other") != "y" {
				t.Errorf("got %q with %v, want %q and authorization %q", last.line, last.header, c.line, c.auth)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"2":                             2 * time.Second,
		"-1":                            0,
		"0":                             0,
		"9999999999":                    longestResend,
		"Fri, 20 Nov 2026 12:00:03 GMT": 3 * time.Second,
		"Fri, 20 Nov 2026 11:00:03 GMT": 0,
		"soon":                          0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	if got := (resend{asked: time.Hour}).delay(0); got != longestResend {
		t.Errorf("got %v for an hour, want %v", got, longestResend)
	}
	for random, want := range map[float64]time.Duration{0: 425 * time.Millisecond, 0.5: 500 * time.Millisecond} {
		if got := (resend{}).delay(random); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batch    bool
		messages []string
		want     string
	}{
		"C1 one message in a batch":         {true, []string{`{"a":1}`}, `{"data":[{"a":1}]}`},
		"C5 several":                        {true, []string{`{"a":1}`, `2`, `null`}, `{"data":[{"a":1},2,null]}`},
		"C20 bare":                          {false, []string{`{"a":1}`}, `{"a":1}`},
		"a bare transform that is nothing":  {false, []string{`null`}, ""},
		"a bare transform that is false":    {false, []string{`false`}, ""},
		"a bare transform that is a number": {false, []string{`0`}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, status(200))
			var messages [][]byte
			for _, m := range c.messages {
				messages = append(messages, []byte(m))
			}
			if err := client(t, Endpoint{Address: e.URL, Batch: c.batch}, patience).Send(t.Context(), Target{}, messages); err != nil {
				t.Fatal(err)
			}
			if got := e.all()[0].body; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestHead reads the bytes of a request: names in lower case, as Sequin's.
func TestHead(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	head := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 4096)
		n, _ := conn.Read(b)
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		_ = conn.Close()
		text, _, _ := strings.Cut(string(b[:n]), "\r\n\r\n")
		head <- text
	}()
	e := Endpoint{Address: "http://" + l.Addr().String() + "/", Batch: true, Headers: map[string]string{"authorization": "Bearer bridge-token"}}
	if err := client(t, e, patience).Send(t.Context(), Target{Path: "/sequin/outbox"}, two); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(<-head, "\r\n")
	got := lines[1:]
	slices.Sort(got)
	want := []string{
		"Content-Length: 26", "Host: " + l.Addr().String(), // Go's own spelling, not compared
		"accept-encoding: gzip", "accept: application/json", "authorization: Bearer bridge-token", "content-type: application/json", "user-agent: event-runtime",
	}
	slices.Sort(want)
	if lines[0] != "POST /sequin/outbox HTTP/1.1" || !slices.Equal(got, want) {
		t.Errorf("got %q %q, want %q", lines[0], got, want)
	}
}

// TestC28Routed: what a routing function says goes before what the file says.
func TestC28Routed(t *testing.T) {
	t.Parallel()
	e := serve(t, status(200))
	c := client(t, Endpoint{Address: e.URL + "/base", Headers: map[string]string{"x-kind": "file", "x-stays": "1"}}, patience)
	to := Target{Method: "PUT", Path: "/x", Headers: map[string]string{"x-kind": "routed"}}
	if err := c.Send(t.Context(), to, two[:1]); err != nil {
		t.Fatal(err)
	}
	got := e.all()[0]
	if got.line != "PUT /base/x" || got.header.Get("X-Kind") != "routed" || got.header.Get("X-Stays") != "1" || got.body != `{"a":1}` {
		t.Errorf("got %+v", got)
	}
	for name, bad := range map[string]Target{
		"a method":          {Method: "BREW"},
		"another origin":    {Path: "http://example.com/"},
		"another host":      {Path: "//example.com/"},
		"a path that is it": {Path: "/" + strings.Repeat("x", 2000)},
		"no path at all":    {Path: "/%zz"},
	} {
		var f *Failure
		if err := c.Send(t.Context(), bad, two[:1]); !errors.As(err, &f) || f.Code != BadTarget {
			t.Errorf("%s: got %v, want %s", name, err, BadTarget)
		}
	}
	if n := len(e.all()); n != 1 {
		t.Errorf("got %d requests, want none of the bad ones", n)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	e := serve(t, status(200))
	c := client(t, Endpoint{Address: e.URL, Batch: true, Headers: map[string]string{"content-encoding": "gzip"}}, patience)
	if err := c.Send(t.Context(), Target{}, two); err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(strings.NewReader(e.all()[0].body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != `{"data":[{"a":1},{"b":2}]}` {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestCutOff: our own end is not waited out.
func TestCutOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	e := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(503)
		cancel()
	})
	if err := client(t, Endpoint{Address: e.URL}, patience).Send(ctx, Target{}, two[:1]); err == nil {
		t.Error("got success")
	}
	if n := len(e.all()); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}
