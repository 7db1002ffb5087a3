package capture

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/event"
)

const (
	orgA = "0f0c2f3e-1111-4bbb-8ccc-ddddeeee0001"
	orgB = "0f0c2f3e-2222-4bbb-8ccc-ddddeeee0002"
	anID = "c26ed9c9-6b3c-4f4a-9d0b-4f30d2c1b1aa"
)

// serve answers over loopback, with the panics of handlers kept out of the output.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet()
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// call makes a request and reads the whole answer.
func call(t testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func routes(patterns map[string]http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range patterns {
		mux.HandleFunc(pattern, h)
	}
	return mux
}

func equal(a, b event.Interaction) bool { return reflect.DeepEqual(a, b) }
