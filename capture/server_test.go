package capture

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
)

func TestServerRecordsACall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := routes(map[string]http.HandlerFunc{"GET /open-banking/accounts/v2/accounts/{accountId}": answer(203, "{}")})
	s := serve(t, b.Server(ServerOptions{Details: Details{ServerOrgID: orgB}})(mux))
	before := time.Now()
	res, body := call(t, "GET", s.URL+"/open-banking/accounts/v2/accounts/12345678909?cpf=12345678909", "", interactionHeader, anID)
	got := b.one()
	want := event.Interaction{
		Role: event.Server, InteractionID: anID, Endpoint: "/open-banking/accounts/v2/accounts/{accountId}", Method: "GET", StatusCode: 203,
		Timestamp: got.Timestamp, ProcessTimespan: got.ProcessTimespan, ServerOrgID: orgB,
	}
	if got.tenant != "acme" || got.source != "test" || !equal(got.Interaction, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if at, err := got.At(); err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
		t.Errorf("got timestamp %s, want one after %s", got.Timestamp, before.UTC())
	}
	if got.ProcessTimespan <= 0 || got.ProcessTimespan > 10_000 {
		t.Errorf("got timespan %v ms", got.ProcessTimespan)
	}
	if body != "{}" || res.Header.Get(interactionHeader) != anID {
		t.Errorf("got %q and id %q", body, res.Header.Get(interactionHeader))
	}
	if want := (Counts{Captured: 1}); b.Stats().Server != want {
		t.Errorf("got %+v, want %+v", b.Stats().Server, want)
	}
}

func TestServerEndpoint(t *testing.T) {
	t.Parallel()
	handlers := func(patterns ...string) http.Handler {
		m := map[string]http.HandlerFunc{}
		for _, p := range patterns {
			m[p] = answer(200, "x")
		}
		return routes(m)
	}
	copying := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), endpointKey{}, 1)))
		})
	}
	told := func(text string, next http.Handler) http.Handler { // as a router's own middleware does
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			Route(r.Context(), "")
			Route(r.Context(), text)
			next.ServeHTTP(w, r)
			Route(r.Context(), "")
		})
	}
	always := func(text string) func(*http.Request) string { return func(*http.Request) string { return text } }
	for name, c := range map[string]struct {
		handler  http.Handler
		template func(*http.Request) string
		want     string // "" for no record
	}{
		"pattern with a method":                {handler: handlers("GET /things/{id}"), want: "/things/{id}"},
		"pattern without a method":             {handler: handlers("/things/{id}"), want: "/things/{id}"},
		"pattern with a host":                  {handler: handlers("127.0.0.1/things/{id}"), want: "/things/{id}"},
		"no route":                             {handler: handlers("GET /other")},
		"other method":                         {handler: handlers("POST /things/{id}")},
		"catch-all":                            {handler: handlers("/")},
		"catch-all, and a hook that knows":     {handler: handlers("/"), template: always("/things/{id}"), want: "/things/{id}"},
		"rest of the path":                     {handler: handlers("/things/{rest...}")},
		"rest of the path, and a hook":         {handler: handlers("/things/{rest...}"), template: always("/things/:id"), want: "/things/{id}"},
		"a hook that leaves it to the mux":     {handler: handlers("/things/{id}"), template: always(""), want: "/things/{id}"},
		"a hook goes first":                    {handler: handlers("/things/{id}"), template: always("/open-banking/{id}"), want: "/open-banking/{id}"},
		"a hook leaves the call out":           {handler: handlers("/things/{id}"), template: always(NotRecorded)},
		"a hook that panics":                   {handler: handlers("/things/{id}"), template: func(*http.Request) string { panic("12345678909") }, want: "/things/{id}"},
		"a hook that gives the path":           {handler: handlers("/"), template: func(r *http.Request) string { return r.URL.Path }},
		"no mux at all, and a hook":            {handler: answer(200, ""), template: always("/things"), want: "/things"},
		"no mux at all":                        {handler: answer(200, "")},
		"behind a middleware that copies":      {handler: copying(handlers("/things/{id}"))},
		"a router that tells":                  {handler: told("/things/:id", answer(200, "")), want: "/things/{id}"},
		"it tells, and copied the request":     {handler: copying(told("/things/:id", answer(200, ""))), want: "/things/{id}"},
		"it tells, and the mux has a pattern":  {handler: told("/open-banking/*rest", handlers("/things/{id}")), want: "/open-banking/{rest}"},
		"it tells, and a hook knows better":    {handler: told("/things/:id", answer(200, "")), template: always("/open-banking/{id}"), want: "/open-banking/{id}"},
		"it tells to leave the call out":       {handler: told(NotRecorded, handlers("/things/{id}"))},
		"it tells a path":                      {handler: told("/things/777", answer(200, ""))},
		"behind it, and Routes around the mux": {handler: copying(Routes(handlers("/things/{id}"))), want: "/things/{id}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := serve(t, b.Server(ServerOptions{Template: c.template})(c.handler))
			call(t, "GET", s.URL+"/things/777", "")
			if c.want != "" {
				if got := b.one().Endpoint; got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				return
			}
			b.none()
			if got := b.Stats().Server; got != (Counts{Skipped: 1}) {
				t.Errorf("got %+v, want one skipped", got)
			}
			if strings.Contains(b.log.String(), "777") || strings.Contains(b.log.String(), "12345678909") {
				t.Errorf("a path or a panic's value is in the log: %s", b.log)
			}
		})
	}
}

func TestServerAroundOneHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	mux.Handle("POST /token", b.Server(ServerOptions{})(answer(200, "t")))
	mux.Handle("GET /.well-known", answer(200, "w"))
	s := serve(t, mux)
	call(t, "GET", s.URL+"/.well-known", "")
	call(t, "POST", s.URL+"/token", "grant_type=client_credentials")
	if got := b.one(); got.Endpoint != "/token" || got.Method != "POST" {
		t.Errorf("got %+v", got)
	}
}

func TestServerTwiceRecordsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	twice := b.Server(ServerOptions{})
	mux := http.NewServeMux()
	mux.Handle("/token", twice(answer(200, "t")))
	s := serve(t, twice(mux))
	call(t, "POST", s.URL+"/token", "")
	b.one()
}

// A handler that sends a request of its own through the same mux is still one
// call, of its own endpoint.
func TestServerWithinItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var whole http.Handler
	whole = b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{
		"/inner": answer(404, "inner"),
		"/outer": func(w http.ResponseWriter, r *http.Request) {
			req, _ := http.NewRequestWithContext(r.Context(), "GET", "/inner", nil)
			whole.ServeHTTP(httptest.NewRecorder(), req)
			w.WriteHeader(201)
		},
	}))
	call(t, "GET", serve(t, whole).URL+"/outer", "")
	if got := b.one(); got.Endpoint != "/outer" || got.StatusCode != 201 {
		t.Errorf("got %+v", got)
	}
}

func TestServerTellsOfAHiddenPattern(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := serve(t, b.Server(ServerOptions{})(answer(200, "")))
	for range 3 {
		call(t, "GET", s.URL+"/things", "")
	}
	if got := b.log.lines("capture.not_recordable"); len(got) != 1 {
		t.Errorf("got %d lines, want 1: %s", len(got), got)
	}
}

func TestServerGivesTheRequestBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"POST /x": func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
	}}))
	type back struct {
		pattern string
		form    bool
		id      string
	}
	got := make(chan back, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		got <- back{r.Pattern, r.MultipartForm != nil, r.Header.Get(interactionHeader)}
	}))
	form := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nhello\r\n--b--\r\n"
	call(t, "POST", s.URL+"/x", form, "Content-Type", "multipart/form-data; boundary=b")
	if got, want := <-got, (back{"POST /x", true, ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	b.one()
}

func TestTimeoutHandlerInBetween(t *testing.T) {
	t.Parallel()
	slow := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); w.WriteHeader(200) }
	for path, want := range map[string]int{"/slow": 503, "/fast": 201} {
		b := newBench(t)
		mux := Routes(routes(map[string]http.HandlerFunc{"/slow": slow, "/fast": answer(201, "f")}))
		s := serve(t, b.Server(ServerOptions{})(http.TimeoutHandler(mux, time.Second, "late")))
		if res, _ := call(t, "GET", s.URL+path, ""); res.StatusCode != want {
			t.Errorf("got %d, want %d", res.StatusCode, want)
		}
		if got := b.one(); got.StatusCode != want || got.Endpoint != path {
			t.Errorf("got %+v, want %d", got, want)
		}
	}
}
