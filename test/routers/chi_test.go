package routers

import (
	"context"
	"net/http"
	"testing"

	"github.com/finnest/event-runtime/capture"
	"github.com/go-chi/chi/v5"
)

func chiAPI(recorder *capture.Recorder) chi.Router {
	api := chi.NewRouter()
	api.Use(recorder.Server(capture.ServerOptions{
		Template: func(r *http.Request) string { return chi.RouteContext(r.Context()).RoutePattern() },
	}))
	return api
}

type keyOfCopy struct{}

// copying replaces the request, as middlewares that add to its context do: what
// chi then says on the request does not come out.
func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), keyOfCopy{}, 1)))
	})
}

func TestChi(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	api := chiAPI(r.Recorder)
	api.Use(copying)
	api.Get("/health", answer(204))
	api.Get("/files/*", answer(200))
	api.Route("/open-banking/consents/v3", func(sub chi.Router) {
		sub.Use(copying)
		sub.Post("/consents", answer(201))
		sub.Get("/consents/{consentId}", answer(200))
		sub.Get(`/consents/{consentId:[a-z0-9:.-]{3,}}/extensions`, answer(200))
	})
	accounts := chi.NewRouter()
	accounts.Get("/accounts/{accountId}/", answer(200))
	api.Mount("/open-banking/accounts/v2", accounts)
	r.check(r.serve(api), map[string]ask{
		"without a parameter":             {"GET", "/health", 204, "GET /health 204"},
		"a route of a sub-router":         {"POST", "/open-banking/consents/v3/consents", 201, "POST /open-banking/consents/v3/consents 201"},
		"a parameter":                     {"GET", "/open-banking/consents/v3/consents/urn:bank:C123456", 200, "GET /open-banking/consents/v3/consents/{consentId} 200"},
		"a parameter with an expression":  {"GET", "/open-banking/consents/v3/consents/urn:x/extensions", 200, "GET /open-banking/consents/v3/consents/{consentId}/extensions 200"},
		"a mounted router":                {"GET", "/open-banking/accounts/v2/accounts/12345678909/", 200, "GET /open-banking/accounts/v2/accounts/{accountId} 200"},
		"a pattern for many endpoints":    {"GET", "/files/a/b", 200, ""},
		"no route":                        {"GET", "/elsewhere", 404, ""},
		"no route in a sub-router":        {"GET", "/open-banking/consents/v3/elsewhere", 404, ""},
		"another method":                  {"DELETE", "/health", 405, ""},
		"another method in a sub-router":  {"DELETE", "/open-banking/consents/v3/consents", 405, ""},
		"another method with a parameter": {"PUT", "/open-banking/consents/v3/consents/urn:bank:C123456", 405, ""},
	})
}
