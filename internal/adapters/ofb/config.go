package ofb

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/rs/zerolog"
)

// Config is where the platform is. The two hosts are two settings: only the
// first wants a client certificate.
type Config struct {
	AuthURL   string        `env:"AUTH_URL, default=https://auth.pcm.sandbox.openfinancebrasil.org.br"`
	APIURL    string        `env:"API_URL, default=https://api.pcm.sandbox.openfinancebrasil.org.br"`
	CAFile    string        `env:"CA_FILE"`                        // PEM; empty: the system's
	Catalogue string        `env:"CATALOGUE_FILE"`                 // endpoints.csv; empty: the one built in
	APIs      []string      `env:"APIS, default=private,opendata"` // that are reported to
	ProxyURL  string        `env:"PROXY_URL"`                      // empty: none, whatever the environment says
	Connect   time.Duration `env:"CONNECT_TIMEOUT, default=5s"`
	Handshake time.Duration `env:"HANDSHAKE_TIMEOUT, default=5s"`
	Lookup    time.Duration `env:"LOOKUP_TIMEOUT, default=10s"`
}

// Adapter is Open Finance Brasil, as submit sees it.
type Adapter struct {
	cfg       Config
	catalogue *Catalogue
	apis      map[string]bool // that are reported to
	tenants   func() *tenant.Snapshot
	now       func() time.Time
	log       zerolog.Logger
	metrics   *metrics

	reports *http.Client // no reuse: one attempt is one connection
	lookups *http.Client // reads may share connections

	mu     sync.Mutex
	tokens map[holder]*tokens // guarded by mu
}

// holder is whose token it is.
type holder struct {
	tenant       string
	organisation event.ID
}

// New checks the configuration; it connects to nothing.
func New(cfg Config, tenants func() *tenant.Snapshot, now func() time.Time, log zerolog.Logger) (*Adapter, error) {
	catalogue, err := openCatalogue(cfg.Catalogue)
	if err != nil {
		return nil, fmt.Errorf("OFB_CATALOGUE_FILE: %w", err)
	}
	apis, err := enabled(cfg.APIs)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"OFB_AUTH_URL": cfg.AuthURL, "OFB_API_URL": cfg.APIURL} {
		if u, err := url.Parse(value); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, fmt.Errorf("%s: want https://host without user and query", name)
		}
	}
	a := &Adapter{cfg: cfg, catalogue: catalogue, apis: apis, tenants: tenants, now: now, log: log, metrics: m, tokens: map[holder]*tokens{}}
	roots, err := credential.Pool(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("OFB_CA_FILE: %w", err)
	}
	// Reports travel over ordinary TLS: no certificate of ours is shown here.
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, SessionTicketsDisabled: true}
	if a.reports, err = newClient(cfg, secure, true); err != nil {
		return nil, err
	}
	a.lookups, err = newClient(cfg, secure, false)
	return a, err
}

// CheckAPIs says what is wrong with names of APIs, or "".
func CheckAPIs(names []string) string {
	for _, name := range names {
		if reportPaths[name] == "" {
			return fmt.Sprintf("%q cannot be reported to; want %s, %s or both", name, Private, OpenData)
		}
	}
	return ""
}

// enabled are the APIs that events are reported to; none named are all.
func enabled(names []string) (map[string]bool, error) {
	if why := CheckAPIs(names); why != "" {
		return nil, fmt.Errorf("OFB_APIS: %s", why)
	}
	if len(names) == 0 {
		names = []string{Private, OpenData}
	}
	on := map[string]bool{}
	for _, name := range names {
		on[name] = true
	}
	return on, nil
}

// newClient is an HTTP/1.1 client that does nothing by itself: no redirects, no
// compression, no proxy that was not asked for, and for reports no connection
// that was used before, on which the transport would repeat a request.
func newClient(cfg Config, secure *tls.Config, single bool) (*http.Client, error) {
	transport := &http.Transport{
		TLSClientConfig: secure.Clone(), TLSHandshakeTimeout: cfg.Handshake, DisableKeepAlives: single, DisableCompression: true,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
		DialContext:  dial(cfg.Connect), MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4,
	}
	if cfg.ProxyURL != "" {
		proxy, err := url.Parse(cfg.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("OFB_PROXY_URL: %w", err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// Close ends connections that lookups keep open.
func (a *Adapter) Close() {
	a.reports.CloseIdleConnections()
	a.lookups.CloseIdleConnections()
}
