package ofb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/goleak"
)

// childEnv makes this binary a simulator of its own, for the tests that kill one.
const childEnv = "OFB_SIMULATOR_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	doc, err := officialDocument()
	if err != nil {
		panic(err)
	}
	// The declared pattern has no quotes, bars and parentheses, and the platform's own
	// messages have them.
	doc.Components.Schemas["ReportResponse"].Value.Properties["message"].Value.Pattern = ""
	goleak.VerifyTestMain(m)
}

func child(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := Config{DataDir: dir, Seed: 7, RatePerSecond: -1}
	err := cfg.Serve(ctx, func(s *Server) { _ = json.NewEncoder(os.Stdout).Encode(s.whereabouts()) })
	if err != nil {
		return 1
	}
	return 0
}

// testKey is made once: an RSA key for each of a hundred servers would be most of the run.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, tokenBits)
	if err != nil {
		panic(err)
	}
	return key
})

// epoch is an hour in the simulated September of 2026, after the last change of the catalogue.
var epoch = time.Date(2026, 9, 10, 12, 0, 0, 0, time.UTC)

type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// conforms checks an answer against the official document. Statuses that the
// document does not list for the operation have the generic error as their form.
func conforms(t *testing.T, path, method string, status int, body []byte) {
	t.Helper()
	doc, err := officialDocument()
	if err != nil {
		t.Fatal(err)
	}
	schema := doc.Components.Schemas["GenericError"].Value
	if item := doc.Paths.Value(path); item != nil && item.GetOperation(method) != nil {
		if declared := item.GetOperation(method).Responses.Status(status); declared != nil {
			schema = declared.Value.Content["application/json"].Schema.Value
		}
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := errors.Join(dec.Decode(&v), schema.VisitJSON(v, openapi3.EnableFormatValidation())); err != nil {
		t.Errorf("%s %s answered %d with a body outside of the OpenAPI document: %v\n%s", method, path, status, err, body)
	}
}

const (
	reportsPath = "/report-api/v1/private/report"
	reportsSpec = "/report-api/v1/private/report/"
	lookupSpec  = "/report-api/v1/private/report/{fapiInteractionId}"
)
