package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/finnest/event-runtime/capture"
	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/event"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Headers by which the traffic tells a bank how to answer.
const (
	statusHeader = "X-Demo-Status"
	callerHeader = "X-Demo-Caller"
	// A gateway in front of a bank says whose call it passes on.
	forwardedHeader = "X-Forwarded-For"
)

// Market runs the banks' APIs and the traffic between them.
type Market struct {
	pool     *pgxpool.Pool
	log      zerolog.Logger
	addr     string
	calls    []ofb.Operation
	open     []ofb.Operation  // open data: anybody may call
	sides    map[string]*side // by tenant
	partner  *http.Client     // calls our banks, and records nothing
	listener net.Listener

	mu      sync.Mutex
	rate    float64       // events a second; guarded by mu
	changed chan struct{} // signals rate
	counts  map[string]int64
}

// side is one bank: what records its calls, and what it calls others with.
type side struct {
	Bank
	ssid     string
	recorder *capture.Recorder
	client   *http.Client
}

// NewMarket opens the port, so that its address is known; it serves nothing yet.
// pool is the producer's.
func NewMarket(ctx context.Context, pool *pgxpool.Pool, addr string, rate float64, log zerolog.Logger) (*Market, error) {
	catalogue, err := ofb.DefaultCatalogue()
	if err != nil {
		return nil, err
	}
	m := &Market{pool: pool, log: log, calls: catalogue.Operations(ofb.Private), open: catalogue.Operations(ofb.OpenData), sides: map[string]*side{}, rate: rate,
		changed: make(chan struct{}, 1), counts: map[string]int64{},
		partner: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if m.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
		return nil, fmt.Errorf("bank listens on %s: %w", addr, err)
	}
	m.addr = m.listener.Addr().String()
	statements := map[string]string{}
	for _, o := range simulator.DefaultDirectory().Organisations {
		statements[o.ID] = o.SoftwareStatements[0]
	}
	for _, b := range append(Banks(), Control()) {
		s := &side{Bank: b, ssid: statements[b.Organisation]}
		if s.recorder, err = capture.New(pool, capture.Config{TenantID: b.Tenant, Ecosystem: event.OFB, Source: "demo-bank", Log: log}); err != nil {
			return nil, err
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 64}
		s.client = &http.Client{Timeout: 5 * time.Second, Transport: s.recorder.Client(transport, capture.ClientOptions{Describe: s.asClient})}
		m.sides[b.Tenant] = s
	}
	return m, nil
}

// Addr is where the banks are: http://<addr>/<tenant>/open-banking/...
func (m *Market) Addr() string { return m.addr }

// Run serves the banks and makes traffic until ctx ends.
func (m *Market) Run(ctx context.Context) error {
	server := &http.Server{Handler: m.routes(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(m.listener) }()
	m.traffic(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := server.Shutdown(last)
	m.partner.CloseIdleConnections()
	for _, s := range m.sides {
		s.client.CloseIdleConnections()
		err = errors.Join(err, s.recorder.Close(last))
	}
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}

// routes puts each bank's API below its name, and what steers the traffic beside
// them.
func (m *Market) routes() http.Handler {
	all := http.NewServeMux()
	for name, s := range m.sides {
		api := http.NewServeMux()
		for _, call := range m.calls {
			api.HandleFunc(call.Method+" "+call.Template, answer)
		}
		if s.OpenData {
			for _, call := range m.open {
				api.HandleFunc(call.Method+" "+call.Template, answer)
			}
		}
		api.HandleFunc("GET /internal/health", answer) // not the regulator's business
		all.Handle("/"+name+"/", http.StripPrefix("/"+name, s.recorder.Server(capture.ServerOptions{Describe: s.asServer})(api)))
	}
	all.HandleFunc("/partner/", answer)
	all.HandleFunc("GET /_stats", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(m.Stats()) })
	all.HandleFunc("POST /_rate", func(w http.ResponseWriter, r *http.Request) {
		rate, err := strconv.ParseFloat(r.URL.Query().Get("events"), 64)
		if err != nil || rate < 0 {
			http.Error(w, "events: want a number of events a second", http.StatusBadRequest)
			return
		}
		m.setRate(rate)
	})
	all.HandleFunc("POST /_control", func(_ http.ResponseWriter, r *http.Request) { m.control(r.Context()) })
	return all
}

// answer does what the caller asks for: there is nothing behind this bank.
func answer(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(r.Header.Get(statusHeader))
	if err != nil {
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status == http.StatusNoContent {
		return
	}
	_, _ = fmt.Fprintf(w, `{"data":{"answered":%q}}`, time.Now().UTC().Format(time.RFC3339Nano))
}

// asServer tells capture who called us: which institution, or of open data from
// which address.
func (s *side) asServer(c capture.Call) capture.Details {
	if ip := c.Request.Header.Get(forwardedHeader); ip != "" {
		return capture.Details{ServerOrgID: s.Organisation, AdditionalInfo: map[string]any{"clientIp": ip}}
	}
	return capture.Details{ServerOrgID: s.Organisation, ClientOrgID: c.Request.Header.Get(callerHeader)}
}

// asClient tells capture whom we called and for what.
func (s *side) asClient(capture.Call) capture.Details {
	return capture.Details{ClientOrgID: s.Organisation, ServerOrgID: Partner(), ClientSSID: s.ssid,
		AdditionalInfo: map[string]any{"consentId": "urn:demo:consent-1", "personType": "PF"}}
}

// Stats is what the market has done since it started.
type Stats struct {
	Captured int64            `json:"captured"`
	Late     int64            `json:"late"`
	Lost     int64            `json:"lost"`
	Sent     map[string]int64 `json:"sent"` // by kind of traffic
}

// Stats adds up all banks.
func (m *Market) Stats() Stats {
	total := Stats{Sent: map[string]int64{}}
	for _, s := range m.sides {
		stats := s.recorder.Stats()
		for _, n := range []capture.Counts{stats.Client, stats.Server} {
			total.Captured, total.Late, total.Lost = total.Captured+n.Captured, total.Late+n.Late, total.Lost+n.Lost
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, n := range m.counts {
		total.Sent[kind] = n
	}
	return total
}
