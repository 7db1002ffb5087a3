package capture

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestServerTraceparent(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	const fromSpan = "00-01000000000000000000000000000000-0200000000000000-01"
	for name, c := range map[string]struct {
		header string
		span   bool
		want   string
	}{
		"of the request":              {parent, true, parent},
		"malformed, and no span":      {"00-xyz", false, ""},
		"malformed, and a span":       {parent + "-extra", true, fromSpan},
		"all zero":                    {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, ""},
		"of a version that cannot be": {"ff" + parent[2:], false, ""},
		"a span alone":                {"", true, fromSpan},
		"64 KB of it":                 {strings.Repeat("a", 64<<10), false, ""},
		"neither":                     {"", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			h := b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/x": answer(200, "")}))
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.span {
					r = r.WithContext(trace.ContextWithSpanContext(r.Context(), span))
				}
				h.ServeHTTP(w, r)
			}))
			var header []string
			if c.header != "" {
				header = []string{"Traceparent", c.header}
			}
			call(t, "GET", s.URL+"/x", "", header...)
			if got := b.one().trace; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
