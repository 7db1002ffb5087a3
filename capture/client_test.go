package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/google/uuid"
)

const accountTemplate = "/open-banking/accounts/v2/accounts/{accountId}"

// through makes the round-tripper of b over a transport of its own.
func (b *bench) through(t testing.TB, opts ClientOptions) http.RoundTripper {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return b.Client(transport, opts)
}

func named(ctx context.Context) context.Context { return WithEndpoint(ctx, accountTemplate) }

func TestClientRecordsACall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get(interactionHeader))
		w.Header().Set("X-Kind", "k")
		w.WriteHeader(404)
		_, _ = io.Copy(w, r.Body)
	}))
	rt := b.through(t, ClientOptions{
		Details: Details{ClientOrgID: orgA, ClientSSID: anID},
		Describe: func(c Call) Details {
			if c.Role != "CLIENT" || c.Status != 404 || c.Header.Get("X-Kind") != "k" || c.Request.Body != http.NoBody || c.Request.GetBody != nil {
				t.Errorf("got %+v", c)
			}
			return Details{ServerOrgID: orgB, AdditionalInfo: map[string]any{"consentId": "urn:bank:C1", "errorCodes": []string{"NOT_FOUND"}}}
		},
	})
	req, _ := http.NewRequestWithContext(named(t.Context()), "PATCH", s.URL+"/prefix/open-banking/accounts/v2/accounts/12345678909?cpf=1", strings.NewReader("body"))
	req.Header["X-Other"] = []string{"o"}
	before := time.Now()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	got := b.one() // before the body is read or closed
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "body" || len(b.db.all()) != 1 {
		t.Errorf("got %q and %d rows", body, len(b.db.all()))
	}
	want := event.Interaction{
		Role: event.Client, InteractionID: got.InteractionID, InteractionIDMade: true, Endpoint: accountTemplate, Method: "PATCH", StatusCode: 404,
		Timestamp: got.Timestamp, ProcessTimespan: got.ProcessTimespan, ClientOrgID: orgA, ServerOrgID: orgB, ClientSSID: anID,
		EndpointURIPrefix: "https://" + strings.TrimPrefix(s.URL, "http://") + "/prefix",
		AdditionalInfo:    []byte(`{"consentId":"urn:bank:C1","errorCodes":["NOT_FOUND"]}`),
	}
	if !equal(got.Interaction, want) {
		t.Errorf("got  %+v\nwant %+v", got.Interaction, want)
	}
	if id, err := uuid.Parse(got.InteractionID); err != nil || id.Version() != 4 || res.Header.Get("X-Seen") != got.InteractionID {
		t.Errorf("recorded %s, sent %s", got.InteractionID, res.Header.Get("X-Seen"))
	}
	if len(req.Header) != 1 || res.Request.Header.Get(interactionHeader) != got.InteractionID {
		t.Errorf("the caller's request became %v, and the response's has %v", req.Header, res.Request.Header)
	}
	if at, err := got.At(); err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
		t.Errorf("got %s", got.Timestamp)
	}
}

func TestClientEndpoint(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get(interactionHeader))
	}))
	always := func(text string) func(*http.Request) string { return func(*http.Request) string { return text } }
	for name, c := range map[string]struct {
		ctx      func(context.Context) context.Context
		template func(*http.Request) string
		want     string
	}{
		"nothing known":          {},
		"by the context":         {ctx: named, want: accountTemplate},
		"by the hook":            {template: always("/token"), want: "/token"},
		"the context goes first": {ctx: named, template: always("/token"), want: accountTemplate},
		"the hook leaves it out": {template: always(NotRecorded)},
		"the hook panics":        {template: func(*http.Request) string { panic(1) }},
		"the hook gives a path":  {template: always("/accounts/12345678")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			ctx := t.Context()
			if c.ctx != nil {
				ctx = c.ctx(ctx)
			}
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			res, err := b.through(t, ClientOptions{Template: c.template}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if c.want == "" {
				b.none()
				if got := b.Stats().Client; got != (Counts{Skipped: 1}) || res.Header.Get("X-Seen") != "" || res.Request != req {
					t.Errorf("got %+v, sent id %q", got, res.Header.Get("X-Seen"))
				}
				return
			}
			if got := b.one().Endpoint; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestClientSendsTheCallersID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header()["X-Seen"] = r.Header[interactionHeader] }))
	req, _ := http.NewRequestWithContext(named(t.Context()), "GET", s.URL, nil)
	req.Header[interactionHeader] = []string{"bad", anID}
	res, err := b.through(t, ClientOptions{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := b.one(); got.InteractionID != anID || got.InteractionIDMade || len(res.Header["X-Seen"]) != 1 || res.Header.Get("X-Seen") != anID {
		t.Errorf("recorded %s, made %v, sent %v", got.InteractionID, got.InteractionIDMade, res.Header["X-Seen"])
	}
	if len(req.Header[interactionHeader]) != 2 {
		t.Errorf("the caller's header became %v", req.Header)
	}
}

func TestClientFailures(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closing := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	trickling := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	quick := 30 * time.Millisecond
	for name, c := range map[string]struct {
		url       string
		ctx       func(context.Context) (context.Context, context.CancelFunc)
		transport *http.Transport
		client    time.Duration // of http.Client; 0 for the round-tripper alone
		want      int           // 0 for no record
	}{
		"the caller's deadline":            {url: "http://" + silent.Addr().String(), ctx: within(quick), want: 408},
		"http.Client's timeout":            {url: "http://" + silent.Addr().String(), client: quick, want: 408},
		"the transport's timeout":          {url: "http://" + silent.Addr().String(), transport: &http.Transport{ResponseHeaderTimeout: quick}, want: 408},
		"the handshake's timeout":          {url: "https://" + silent.Addr().String(), transport: &http.Transport{TLSHandshakeTimeout: quick}, want: 408},
		"cancelled, for a timeout's cause": {url: "http://" + silent.Addr().String(), ctx: cancelled(context.DeadlineExceeded), want: 408},
		"cancelled by the caller":          {url: "http://" + silent.Addr().String(), ctx: cancelled(nil)},
		"refused":                          {url: "http://127.0.0.1:1"},
		"closed without an answer":         {url: closing.URL},
		"a deadline in the body":           {url: trickling.URL, ctx: within(time.Second), want: 200},
		"a deadline that was over":         {url: trickling.URL, ctx: within(-time.Second), want: 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			ctx, cancel := named(t.Context()), context.CancelFunc(func() {})
			if c.ctx != nil {
				ctx, cancel = c.ctx(ctx)
			}
			defer cancel()
			transport := c.transport
			if transport == nil {
				transport = &http.Transport{}
			}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: b.Client(transport, ClientOptions{}), Timeout: c.client}
			req, _ := http.NewRequestWithContext(ctx, "GET", c.url, nil)
			start := time.Now()
			res, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if err == nil {
				t.Fatal("the call succeeded")
			}
			if c.want == 0 {
				b.none()
				if got := b.Stats().Client; got != (Counts{Skipped: 1}) {
					t.Errorf("got %+v, want one skipped", got)
				}
				return
			}
			got := b.one()
			if got.StatusCode != c.want {
				t.Errorf("got %d, want %d (%v)", got.StatusCode, c.want, err)
			}
			if waited := float64(time.Since(start)) / 1e6; got.ProcessTimespan <= 0 || got.ProcessTimespan > waited {
				t.Errorf("got %v ms of %v", got.ProcessTimespan, waited)
			}
		})
	}
}

func within(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

// cancelled ends the call when its request has left.
func cancelled(cause error) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		wrote := func(httptrace.WroteRequestInfo) { time.AfterFunc(20*time.Millisecond, func() { cancel(cause) }) }
		return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: wrote}), func() { cancel(nil) }
	}
}

// roundTrip is a transport that needs no network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientTimes(t *testing.T) {
	t.Parallel()
	after := func(ms int) { time.Sleep(time.Duration(ms) * time.Millisecond) }
	got := func(r *http.Request) { httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{}) }
	first := func(r *http.Request) { httptrace.ContextClientTrace(r.Context()).GotFirstResponseByte() }
	hint := func(r *http.Request) { _ = httptrace.ContextClientTrace(r.Context()).Got1xxResponse(103, nil) }
	for name, c := range map[string]struct {
		trip func(*http.Request) error
		at   string
		want float64
	}{
		"a connection, a byte, a header": {func(r *http.Request) error {
			after(10)
			got(r)
			after(20)
			first(r)
			after(40)
			return nil
		}, "2000-01-01T00:00:00.010000Z", 20},
		"a transport that says nothing": {func(*http.Request) error { after(10); return nil }, "2000-01-01T00:00:00.000000Z", 10},
		"sent again on a second connection": {func(r *http.Request) error {
			got(r)
			after(10)
			first(r)
			got(r)
			after(20)
			first(r)
			return nil
		}, "2000-01-01T00:00:00.010000Z", 20},
		"an early hint is no response": {func(r *http.Request) error {
			got(r)
			after(10)
			first(r)
			hint(r)
			after(20)
			return nil
		}, "2000-01-01T00:00:00.000000Z", 30},
		"a timeout after the first byte": {func(r *http.Request) error {
			got(r)
			after(10)
			first(r)
			after(20)
			return context.DeadlineExceeded
		}, "2000-01-01T00:00:00.000000Z", 30},
		"a timeout while connecting": {func(*http.Request) error { after(30); return context.DeadlineExceeded }, "2000-01-01T00:00:00.000000Z", 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.db.commit = func(context.Context) error { time.Sleep(time.Second); return nil } // no part of it
				rt := b.Client(roundTrip(func(r *http.Request) (*http.Response, error) {
					if err := c.trip(r); err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
				}), ClientOptions{})
				req := httptest.NewRequest("GET", "http://bank.example/open-banking/x", nil).WithContext(named(context.Background()))
				_, _ = rt.RoundTrip(req)
				if got := b.one(); got.ProcessTimespan != c.want || got.Timestamp != c.at {
					t.Errorf("got %v ms from %s, want %v from %s", got.ProcessTimespan, got.Timestamp, c.want, c.at)
				}
			})
		})
	}
}

func TestClientURIPrefix(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ecosystem, template, url, host, want string }{
		"with a prefix":           {"ofb", accountTemplate, "https://api.bank.example/opbk/open-banking/accounts/v2/accounts/1", "", "https://api.bank.example/opbk"},
		"without a prefix":        {"ofb", accountTemplate, "https://api.bank.example/open-banking/accounts/v2/accounts/1?x=y", "", "https://api.bank.example/"},
		"with a port":             {"ofb", accountTemplate, "https://api.bank.example:8443/a/b/open-banking/accounts", "", "https://api.bank.example:8443/a/b"},
		"with the usual port":     {"ofb", accountTemplate, "https://api.bank.example:443/open-banking/accounts", "", "https://api.bank.example/"},
		"token":                   {"ofb", "/token", "https://as.bank.example/as/token.oauth2?x=y#z", "", "https://as.bank.example/as/token.oauth2"},
		"register":                {"ofb", "/register", "https://bank.example/orgs/bank/reg", "", "https://bank.example/orgs/bank/reg"},
		"register with an id":     {"ofb", "/register/{clientId}", "https://bank.example/orgs/bank/reg/12345678909", "", "https://bank.example/orgs/bank/reg"},
		"register, id, slash":     {"ofb", "/register/{clientId}", "https://bank.example/reg/12345678909/", "", "https://bank.example/reg"},
		"less path than template": {"ofb", "/a/{b}/c/d", "https://bank.example/12345678909", "", "https://bank.example"},
		"a path outside the tree": {"ofb", accountTemplate, "https://bank.example/gateway/12345678909", "", "https://bank.example/"},
		"a word like the tree":    {"ofb", accountTemplate, "https://bank.example/open-banking-gw/open-banking/accounts", "", "https://bank.example/open-banking-gw"},
		"by a sidecar":            {"ofb", accountTemplate, "http://127.0.0.1:15001/open-banking/accounts", "api.bank.example", "https://api.bank.example/"},
		"user and password":       {"ofb", "/token", "https://user:secret@bank.example/token", "", "https://bank.example/token"},
		"what cannot be reported": {"ofb", "/token", "https://bank.example/to%20ken", "", ""},
		"too long":                {"ofb", "/token", "https://bank.example/" + strings.Repeat("a", 200), "", ""},
		"insurance":               {"opin", "/open-insurance/x", "https://api.seguro.example:8443/p/open-insurance/x", "", "https://api.seguro.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(cfg *Config) { cfg.Ecosystem = c.ecosystem })
			rt := b.Client(roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}), ClientOptions{})
			req, err := http.NewRequestWithContext(WithEndpoint(t.Context(), c.template), "", c.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.host != "" {
				req.Host = c.host
			}
			_, _ = rt.RoundTrip(req)
			if got := b.one().EndpointURIPrefix; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want == "" && len(b.log.lines("capture.detail_dropped")) != 1 {
				t.Errorf("nothing was told: %s", b.log)
			}
		})
	}
}

// The body is the caller's: neither read nor closed, and not even looked at.
func TestClientLeavesBodiesAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := forbidden{t}
	res := &http.Response{StatusCode: 200, Body: body}
	rt := b.Client(roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Body != body {
			t.Errorf("the request's body was replaced")
		}
		return res, nil
	}), ClientOptions{})
	req, _ := http.NewRequestWithContext(named(t.Context()), "POST", "http://bank.example/open-banking/x", body)
	got, err := rt.RoundTrip(req)
	if got != res || got.Body != body || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	b.one()
}

type forbidden struct{ t *testing.T }

func (f forbidden) Read([]byte) (int, error) { f.t.Error("read"); return 0, io.EOF }
func (f forbidden) Close() error             { f.t.Error("closed"); return nil }

func TestClientPassesErrorsOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	want := errors.New("no route")
	rt := b.Client(roundTrip(func(*http.Request) (*http.Response, error) { return nil, want }), ClientOptions{})
	req, _ := http.NewRequestWithContext(named(t.Context()), "GET", "http://bank.example/open-banking/x", nil)
	if res, err := rt.RoundTrip(req); res != nil || err != want { //nolint:errorlint // the very same
		t.Errorf("got %v, %v", res, err)
	}
	b.none()
}

// A caller with a deadline at hand gets its answer, whatever Postgres does.
func TestTheCallersDeadlineBoundsTheHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wait(0))
		b.db.begin = func(ctx context.Context) error {
			if !b.db.up.Load() {
				return blocked(ctx)
			}
			return nil
		}
		rt := b.Client(roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), ClientOptions{})
		ctx, cancel := context.WithTimeout(named(context.Background()), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := rt.RoundTrip(httptest.NewRequest("GET", "http://bank.example/open-banking/x", nil).WithContext(ctx))
		if held := time.Since(start); err != nil || held > 50*time.Millisecond {
			t.Errorf("held %v, %v", held, err)
		}
		b.db.up.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.Stats().Client; got != (Counts{Late: 1}) {
			t.Errorf("got %+v, want one late", got)
		}
	})
}
