package testenv

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/finnest/event-runtime/internal/local"
)

// reconnectWait is short: a test that restarts the server waits for it.
const reconnectWait = 10 * time.Millisecond

// A NATSOption changes a JetStream server of the test's own.
type NATSOption func(*local.NATSConfig)

// StoreDir keeps the streams there, beyond the test if it likes.
func StoreDir(dir string) NATSOption { return func(c *local.NATSConfig) { c.Dir = dir } }

// SyncAlways syncs each message to disk, as in production.
func SyncAlways() NATSOption { return func(c *local.NATSConfig) { c.SyncAlways = true } }

// MaxFileStore bounds the streams of the server.
func MaxFileStore(bytes int64) NATSOption {
	return func(c *local.NATSConfig) { c.MaxFileStore = bytes }
}

// Monitored serves the monitoring pages on a port.
func Monitored(port int) NATSOption { return func(c *local.NATSConfig) { c.Monitor = port } }

// A NATSServer is a JetStream server of the test's own.
type NATSServer struct {
	t   testing.TB
	cfg local.NATSConfig
	now *local.NATS

	mu  sync.Mutex
	log strings.Builder
}

// NATS gives the test a JetStream server of its own, in this process.
func NATS(t testing.TB, options ...NATSOption) *NATSServer {
	t.Helper()
	n := &NATSServer{t: t, cfg: local.NATSConfig{Dir: t.TempDir()}}
	n.cfg.Log = n.line
	for _, option := range options {
		option(&n.cfg)
	}
	n.Start()
	t.Cleanup(n.close)
	return n
}

// Start starts the server again, on the same port and streams.
func (n *NATSServer) Start() {
	n.t.Helper()
	server, err := local.StartNATS(n.t.Context(), n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.now, n.cfg.Port = server, server.Port()
}

// Stop shuts the server down.
func (n *NATSServer) Stop() { n.now.Stop() }

// Restart is Stop and Start.
func (n *NATSServer) Restart() {
	n.t.Helper()
	n.Stop()
	n.Start()
}

// URL is the server's address; it stays the same over a restart.
func (n *NATSServer) URL() string { return n.now.URL() }

// Conn connects, reconnecting for as long as the test lasts; it is closed when
// the test ends.
func (n *NATSServer) Conn(options ...nats.Option) *nats.Conn {
	n.t.Helper()
	nc, err := nats.Connect(n.URL(), append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait)}, options...)...)
	if err != nil {
		n.t.Fatalf("connect to nats: %v", err)
	}
	n.t.Cleanup(nc.Close)
	return nc
}

// JetStream is a connection's view of the streams.
func (n *NATSServer) JetStream(options ...nats.Option) jetstream.JetStream {
	n.t.Helper()
	js, err := jetstream.New(n.Conn(options...))
	if err != nil {
		n.t.Fatal(err)
	}
	return js
}

func (n *NATSServer) line(level, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = fmt.Fprintf(&n.log, "%s %s\n", level, text)
}

func (n *NATSServer) close() {
	n.Stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.t.Failed() {
		n.t.Logf("nats:\n%s", n.log.String())
	}
}
