package ofb

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Server is one simulated platform.
type Server struct {
	cfg      Config
	clock    *clock
	registry *registry
	rules    *rules
	store    *store
	faults   *faults
	limiter  *limiter
	lookups  atomic.Int64
	grants   atomic.Int64

	// Written by Run before ready is closed, and not after.
	tokens *issuer
	pki    PKI
	urls   urls

	ready   chan struct{}
	closing chan struct{} // closed when Run begins to stop: nobody waits any longer
	ran     atomic.Bool

	mu    sync.Mutex
	other Counterparty
}

type urls struct{ auth, api, control string }

// New checks the configuration and prepares the rules. It opens nothing.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("simulator of OFB: %w", err)
	}
	setDefault(&cfg.Seed, rand.Uint64())
	list, err := readCatalogue(endpointsCSV, apiPrivate)
	if err != nil {
		return nil, err
	}
	open, err := readCatalogue(endpointsCSV, apiOpenData)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, clock: newClock(cfg.Now), registry: newRegistry(cfg.Directory), limiter: newLimiter(cfg.RatePerSecond),
		faults: &faults{seed: cfg.Seed}, ready: make(chan struct{}), closing: make(chan struct{}),
	}
	s.rules = &rules{registry: s.registry, catalogue: list, open: open, lenient: cfg.LenientTimestamps}
	if !cfg.SkipOpenAPI {
		if s.rules.official, err = newOfficial(); err != nil {
			return nil, err
		}
	}
	s.store = newStore(cfg, s.clock)
	return s, s.SetCounterparty(cfg.Counterparty)
}

// Ready is closed when all listeners are bound and the journal is read.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// AuthURL is the base of the token host; like all that Run sets, it is valid once
// Ready is closed.
func (s *Server) AuthURL() string { return s.urls.auth }

// APIURL is the base of the report host.
func (s *Server) APIURL() string { return s.urls.api }

// ControlURL is the base of the ledger and the faults.
func (s *Server) ControlURL() string { return s.urls.control }

// PKI names the files of the CA and of the organisations.
func (s *Server) PKI() PKI { return s.pki }

// Inject orders a fault and panics when it is one that can never happen, because
// then the test that asked for it tests nothing.
func (s *Server) Inject(f Fault) (id string) {
	id, err := s.faults.add(f)
	if err != nil {
		panic(err)
	}
	return id
}

// Faults lists the orders with their hits.
func (s *Server) Faults() []Fault { return s.faults.all() }

// Heal deletes one order, or with "" all of them.
func (s *Server) Heal(id string) bool { return s.faults.remove(id) }

// SetCounterparty changes who reports the other side, from the next request on.
func (s *Server) SetCounterparty(c Counterparty) error {
	if err := c.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	s.other = c
	s.mu.Unlock()
	s.store.reflectBy(func(e entry, sender uuid.UUID) (entry, time.Duration, bool) {
		return c.reflection(e, sender, s.registry, s.cfg.Seed)
	})
	return nil
}

func (s *Server) counterparty() Counterparty {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.other
}

// SetClock moves the simulator's clock against its source and does what is due.
func (s *Server) SetClock(offset time.Duration) {
	s.clock.move(offset)
	s.Tick()
}

// Tick does what has come due. Only an injected clock needs it: nobody else knows
// when that one moves.
func (s *Server) Tick() {
	s.store.settle()
	s.store.nudge() // a clock that was set makes every timer wrong
}

// apiRoutes serves the report listener.
func (s *Server) apiRoutes(w http.ResponseWriter, r *http.Request) {
	const reports, openData = "/report-api/v1/private/report", "/report-api/v1/opendata/report"
	if path := strings.TrimSuffix(r.URL.Path, "/"); path == openData {
		if r.Method != http.MethodPost { // nothing of it can be looked up
			s.deliver(w, own(http.StatusMethodNotAllowed).with("Allow", http.MethodPost), nil)
			return
		}
		s.post(w, r, apiOpenData)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, reports)
	id, isLookup := strings.CutPrefix(rest, "/")
	switch {
	case !ok || rest != "" && !isLookup || strings.Contains(id, "/"):
		s.deliver(w, own(http.StatusNotFound), nil)
	case id == "" && r.Method == http.MethodPost:
		s.post(w, r, apiPrivate)
	case id == "":
		s.deliver(w, own(http.StatusMethodNotAllowed).with("Allow", http.MethodPost), nil)
	case r.Method == http.MethodGet:
		s.get(w, r, id)
	default:
		s.deliver(w, own(http.StatusMethodNotAllowed).with("Allow", http.MethodGet), nil)
	}
}
