package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const askReadyEvery = 100 * time.Millisecond

// NATSConfig describes a JetStream server in this process.
type NATSConfig struct {
	Dir          string
	Port         int   // 0: the one used before, or a free one
	Monitor      int   // port of the monitoring pages on loopback; 0: none
	SyncAlways   bool  // sync to disk before each PubAck, as in production; else every two minutes
	MaxFileStore int64 // bytes; 0: 10 GiB
	ServerName   string
	Cluster      NATSCluster
	Log          func(level, text string) // nil: nothing is logged
}

// NATSCluster joins the server to others; without a name it stands alone.
type NATSCluster struct {
	Name   string
	Port   int
	Routes []string // nats://host:port of the others
}

// A NATS is a running JetStream server.
type NATS struct {
	server *server.Server
	claim  *Claim
	port   int
	grace  bool // others can take over: hand them our leaderships first
	stop   sync.Once
	done   chan struct{}
}

// RunNATS serves until ctx ends, then shuts down in order.
func RunNATS(ctx context.Context, cfg NATSConfig) error {
	n, err := StartNATS(ctx, cfg)
	if err != nil {
		return err
	}
	return n.wait(ctx)
}

func (n *NATS) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		n.Stop()
		return nil
	case <-n.done:
		n.Stop()
		return errors.New("nats server ended by itself")
	}
}

// RunNATSFile serves what a nats-server.conf says until ctx ends. The file is read
// once; who runs another server on the same store is told so.
func RunNATSFile(ctx context.Context, path string, log func(level, text string)) error {
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if opts.StoreDir == "" {
		return fmt.Errorf("%s: jetstream has no store_dir", path)
	}
	opts.NoSigs = true
	claim, err := ClaimDir(opts.StoreDir)
	if err != nil {
		return fmt.Errorf("start nats: %w", err)
	}
	n := &NATS{claim: claim, port: opts.Port, grace: opts.Cluster.Name != "", done: make(chan struct{})}
	if err := n.serve(ctx, opts, log); err != nil {
		claim.Release()
		return fmt.Errorf("start nats: %w", err)
	}
	return n.wait(ctx)
}

// StartNATS starts a server and returns when it accepts connections and its
// streams are recovered.
func StartNATS(ctx context.Context, cfg NATSConfig) (*NATS, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	claim, err := ClaimDir(dir)
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	n := &NATS{claim: claim, grace: cfg.Cluster.Name != "", done: make(chan struct{})}
	n.port, err = onPort(dir, cfg.Port, func(port int) error { return n.run(ctx, cfg, port) })
	if err != nil {
		claim.Release()
		return nil, fmt.Errorf("start nats: %w", err)
	}
	return n, nil
}

func (n *NATS) run(ctx context.Context, cfg NATSConfig, port int) error {
	opts, err := cfg.options(port)
	if err != nil {
		return err
	}
	return n.serve(ctx, opts, cfg.Log)
}

func (n *NATS) serve(ctx context.Context, opts *server.Options, write func(level, text string)) error {
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure nats: %w", err)
	}
	log := &natsLog{write: write, fatal: make(chan string, 1)}
	s.SetLoggerV2(log, false, false, false)
	started := make(chan struct{})
	go func() { // recovery of large streams takes a while, and ctx may end meanwhile
		defer close(started)
		s.Start()
	}()
	if err := natsReady(ctx, s, log, started); err != nil {
		s.Shutdown()
		<-started
		s.WaitForShutdown()
		return err
	}
	n.server = s
	go func() {
		s.WaitForShutdown()
		close(n.done)
	}()
	return nil
}

func natsReady(ctx context.Context, s *server.Server, log *natsLog, started <-chan struct{}) error {
	select {
	case <-started:
	case <-ctx.Done():
		return fmt.Errorf("nats is not ready: %w", context.Cause(ctx))
	}
	for !s.ReadyForConnections(askReadyEvery) {
		select {
		case text := <-log.fatal:
			return natsFatal(text)
		case <-ctx.Done():
			return fmt.Errorf("nats is not ready: %w", context.Cause(ctx))
		default:
		}
	}
	return nil
}

// Port is the loopback TCP port for clients.
func (n *NATS) Port() int { return n.port }

// URL is the address for clients.
func (n *NATS) URL() string { return n.server.ClientURL() }

// Done is closed when the server is gone.
func (n *NATS) Done() <-chan struct{} { return n.done }

// Stop shuts the server down: a member of a cluster hands over what it leads,
// streams are written out, connections are cut. The directory is given back.
func (n *NATS) Stop() {
	n.stop.Do(func() {
		if n.grace {
			n.server.LameDuckShutdown()
		}
		n.server.Shutdown()
		<-n.done
		n.claim.Release()
	})
}
