package ofb

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// The organisations of the default directory.
const (
	araucaria  = "11a1c0de-0001-4a00-8a00-000000000001"
	pagamentos = "11a1c0de-0002-4a00-8a00-000000000002" // same conglomerate
	ipe        = "22b2c0de-0003-4b00-8b00-000000000003"
	jatoba     = "33c3c0de-0004-4c00-8c00-000000000004"
)

// bench is a running simulator and its clients.
type bench struct {
	*testing.T

	sim    *Server
	clock  *fakeClock
	stop   func()
	tokens map[string]string
	faulty bool // answers need not conform
}

func start(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := &bench{T: t, clock: &fakeClock{t: epoch}, tokens: map[string]string{}}
	if cfg.Now == nil {
		cfg.Now = b.clock.now
	}
	if cfg.DataDir == "" {
		cfg.TokenKey = testKey()
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	sim, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.run(sim)
	return b
}

func (b *bench) run(sim *Server) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("Run ended with %v", err)
		}
	}
	b.Cleanup(b.stop)
	select {
	case <-sim.Ready():
	case err := <-ended:
		ended <- err
		b.Fatalf("Run ended before it was ready: %v", err)
	}
	b.sim = sim
}

// client trusts the simulator's CA and shows the certificate of org, if any.
func (b *bench) client(org string) *http.Client {
	return clientFor(b, b.sim.PKI(), org)
}

func clientFor(t testing.TB, pki PKI, org string) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(pki.CA)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AppendCertsFromPEM(ca)
	if files, ok := pki.Of(org); ok {
		pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableCompression: true, MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reply is what a client saw. err is the failure of the exchange or of its body;
// what was read before it is kept.
type reply struct {
	status   int
	header   http.Header
	body     []byte
	receipts []receiptView
	err      error
}

type receiptView struct {
	ReportID      string `json:"reportId"`
	EventID       string `json:"eventId"`
	Status        string `json:"status"`
	CorrelationID string `json:"correlationId"`
	Message       string `json:"message"`
}

func (r reply) message() string {
	var m struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(r.body, &m)
	return m.Message
}

func (r reply) model() (m model) {
	_ = json.Unmarshal(r.body, &m)
	return m
}

// exchange does one request on a connection of its own, so that nothing is ever
// sent twice by the transport.
func exchange(c *http.Client, req *http.Request) reply {
	req.Close = true
	return exchangeKept(c, req)
}

// exchangeKept leaves the connection open, for those who send hundreds.
func exchangeKept(c *http.Client, req *http.Request) reply {
	res, err := c.Do(req)
	if err != nil {
		return reply{err: err}
	}
	body, err := io.ReadAll(res.Body)
	return reply{status: res.StatusCode, header: res.Header, body: body, err: errors.Join(err, res.Body.Close())}
}

func (b *bench) request(method, target, contentType, body string) *http.Request {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, target, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

func (b *bench) askToken(org, path, contentType, body string) reply {
	b.Helper()
	r := exchange(b.client(org), b.request(http.MethodPost, b.sim.AuthURL()+path, contentType, body))
	if r.err == nil && !b.faulty {
		conforms(b.T, path, http.MethodPost, r.status, r.body)
	}
	return r
}

func (b *bench) form(org string) string {
	files, _ := b.sim.PKI().Of(org)
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {files.ClientID}}.Encode()
}

const formType = "application/x-www-form-urlencoded"

func (b *bench) token(org string) string {
	b.Helper()
	if b.tokens[org] == "" {
		b.tokens[org] = tokenIn(b.T, b.askToken(org, "/token/", formType, b.form(org))).AccessToken
	}
	return b.tokens[org]
}

func tokenIn(t *testing.T, r reply) tokenAnswer {
	t.Helper()
	var answer tokenAnswer
	if err := errors.Join(r.err, json.Unmarshal(r.body, &answer)); err != nil || r.status != http.StatusOK || answer.AccessToken == "" {
		t.Fatalf("got %d %s (%v), want a token", r.status, r.body, err)
	}
	return answer
}

// api does one authorised request on the report host, without a client certificate.
func (b *bench) api(org string, req *http.Request) reply {
	b.Helper()
	req.Header.Set("Authorization", "Bearer "+b.token(org))
	return exchange(b.client(""), req)
}

func (b *bench) post(org, body string) reply {
	b.Helper()
	r := b.api(org, b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, body))
	if r.err == nil && !b.faulty {
		conforms(b.T, reportsSpec, http.MethodPost, r.status, r.body)
	}
	_ = json.Unmarshal(r.body, &r.receipts)
	return r
}

func (b *bench) report(org string, items ...item) reply {
	b.Helper()
	body, err := json.Marshal(items)
	if err != nil {
		b.Fatal(err)
	}
	return b.post(org, string(body))
}

func (b *bench) lookup(org, id string) reply {
	b.Helper()
	r := b.api(org, b.request(http.MethodGet, b.sim.APIURL()+reportsPath+"/"+id, "", ""))
	if r.err == nil && !b.faulty {
		conforms(b.T, lookupSpec, http.MethodGet, r.status, r.body)
	}
	return r
}

// settle lets the platform see what it has received.
func (b *bench) settle() {
	b.clock.advance(defaultVisibility)
	b.sim.Tick()
}

func (b *bench) control(method, path, body string) reply {
	b.Helper()
	return exchange(http.DefaultClient, b.request(method, b.sim.ControlURL()+path, jsonType, body))
}

func (b *bench) wantReceipts(r reply, status int, want ...string) {
	b.Helper()
	if r.err != nil || r.status != status || len(r.receipts) != len(want) {
		b.Fatalf("got %d with %d receipts (%v) %s, want %d with %d", r.status, len(r.receipts), r.err, cut(string(r.body), 300), status, len(want))
	}
	for i, w := range want {
		if got := r.receipts[i]; got.Status != w && !strings.Contains(got.Message, w) {
			b.Errorf("receipt %d: got %s %q, want %q", i, got.Status, got.Message, w)
		}
		if id, err := uuid.Parse(r.receipts[i].ReportID); err != nil || id.Version() != 4 {
			b.Errorf("receipt %d: got report id %q, want a UUID of version 4", i, r.receipts[i].ReportID)
		}
	}
}

func (b *bench) wantMessage(r reply, status int, message string) {
	b.Helper()
	if r.err != nil || r.status != status || r.message() != message {
		b.Errorf("got %d %q (%v), want %d %q", r.status, r.message(), r.err, status, message)
	}
}

func (b *bench) wantState(org, id, state string) model {
	b.Helper()
	r := b.lookup(org, id)
	if r.status != http.StatusOK || r.model().Status != state {
		b.Fatalf("got %d %s, want %s", r.status, bytes.TrimSpace(r.body), state)
	}
	return r.model()
}

// item is a report on its way to JSON.
type item map[string]any

const accountsEndpoint = "/open-banking/accounts/v2/accounts"

// call is the base item C: a valid client report of araucaria about a call to ipe.
func (b *bench) call(id string) item { return callAt(id, b.clock.now()) }

func callAt(id string, now time.Time) item {
	return item{
		"fapiInteractionId": id, "endpoint": accountsEndpoint, "statusCode": 200, "httpMethod": "GET",
		"timestamp": formatTimestamp(now.Add(-time.Hour)), "processTimespan": 120, "clientOrgId": araucaria, "serverOrgId": ipe,
		"role": "CLIENT", "clientSSId": "11a1c0de-0001-4a00-8a00-000000000051", "endpointUriPrefix": "https://api.ipe.example",
		"correlationId": "corr-" + id[:8], "additionalInfo": item{"consentId": "urn:ipe:C1DD33123", "personType": "PF"},
	}
}

// mirror is S, the same call as its server reports it.
func (b *bench) mirror(id string) item {
	return b.call(id).without("clientSSId", "endpointUriPrefix", "additionalInfo", "correlationId").with("role", "SERVER")
}

func (i item) with(field string, v any) item {
	c := item{}
	for k, old := range i {
		c[k] = old
	}
	c[field] = v
	return c
}

func (i item) without(fields ...string) item {
	c := i.with("", nil)
	delete(c, "")
	for _, f := range fields {
		delete(c, f)
	}
	return c
}

// calls are n items like call, each of its own interaction.
func (b *bench) calls(n int) []item {
	list := make([]item, n)
	for i := range list {
		list[i] = b.call(uuid.NewString())
	}
	return list
}

func contains(r reply, part string) bool { return bytes.Contains(r.body, []byte(part)) }
