package ofb

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says where the simulator listens, what it remembers and which of the
// regulator's undocumented choices it takes. The zero value is a complete one.
type Config struct {
	AuthAddr    string // tokens, mTLS; "" or port 0 picks a free port on loopback
	APIAddr     string // reports, server TLS only
	ControlAddr string // ledger and faults; loopback only, because it is plain HTTP without a login

	DataDir   string          // PKI, token key, journal; empty: nothing outlives the process
	PKIDir    string          // client files; empty: DataDir/pki, or a temporary directory removed by Run
	Directory Directory       // zero: DefaultDirectory()
	TokenKey  *rsa.PrivateKey // nil: kept in DataDir, or made at start

	VisibilityDelay   time.Duration // until a report can be looked up; 0: 2s
	PairingDelay      time.Duration // from then on ACCEPTED for so long, then paired or not
	TokenTTL          time.Duration // 0: 6h
	RatePerSecond     int           // requests per organisation; 0: 300; negative: no limit
	NoRetryAfter      bool          // 429 without the header: the specification declares none
	DiscardDuplicates bool          // discard a repeated report instead of storing a flagged second copy
	LenientTimestamps bool          // accept what the 4.0.0 pattern accepts: fraction optional, numeric offset
	LegacyLookup      bool          // lookups also return the submitted fields, as up to 2.1.0
	ShowDiscarded     bool          // lookups find items that were discarded on arrival
	SkipOpenAPI       bool          // own rules only; for benchmarks, where the second check is most of the cost

	Counterparty Counterparty     // who reports the other side of a call
	Seed         uint64           // of report ids, fault odds and the counterparty; 0: drawn at start
	Now          func() time.Time // nil: the machine's clock. Otherwise due work is done by Tick and by lookups
}

const (
	defaultVisibility = 2 * time.Second
	defaultTokenTTL   = 6 * time.Hour
	defaultRate       = 300
)

// withDefaults fills what was left open and refuses what cannot be served safely.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.AuthAddr, "127.0.0.1:0")
	setDefault(&c.APIAddr, "127.0.0.1:0")
	setDefault(&c.ControlAddr, "127.0.0.1:0")
	setDefault(&c.VisibilityDelay, defaultVisibility)
	setDefault(&c.TokenTTL, defaultTokenTTL)
	setDefault(&c.RatePerSecond, defaultRate)
	if len(c.Directory.Organisations) == 0 {
		c.Directory = DefaultDirectory()
	}
	if err := loopback(c.ControlAddr); err != nil {
		return c, fmt.Errorf("control address: %w", err)
	}
	if err := c.Counterparty.validate(); err != nil {
		return c, fmt.Errorf("counterparty: %w", err)
	}
	return c, c.Directory.validate()
}

// Serve builds a server of c and runs it until ctx ends. announce is called once,
// when the addresses and files can be told to others.
func (c *Config) Serve(ctx context.Context, announce func(*Server)) error {
	s, err := New(*c)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	group.Go(func() error {
		defer close(ended)
		return s.Run(ctx)
	})
	select {
	case <-s.Ready():
		announce(s)
	case <-ended:
	}
	return group.Wait()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address", addr)
	}
	return nil
}
