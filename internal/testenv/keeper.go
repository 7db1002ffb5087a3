package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/finnest/event-runtime/internal/local"
)

const (
	keeperEnv  = "TESTENV_KEEPER" // the directory to keep the shared cluster in
	idleEnv    = "TESTENV_IDLE"   // how long it stays without users
	idleFor    = 20 * time.Second // long enough to compile and link the next package
	readyFD    = 3                // where the keeper reports to who started it
	startBound = 90 * time.Second
)

// hello is what a keeper tells each user.
type hello struct {
	URL                string // the superuser's, without a database
	Keeper, Postmaster int    // process ids
}

// A keeper is the process that holds the cluster shared by all packages of a
// `go test`. A test process uses it as long as its connection is open: the
// kernel closes that however the process ends, so no user is ever forgotten.
type keeper struct {
	listener net.Listener
	idle     time.Duration
	hello    hello
	joined   chan net.Conn
	left     chan net.Conn
}

// keeperMain is the whole life of the keeper's process.
func keeperMain(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	syscall.CloseOnExec(readyFD) // or the servers started here would hold it open
	ready := os.NewFile(readyFD, "ready")
	if err := keep(ctx, dir, ready); err != nil {
		_, _ = fmt.Fprintln(ready, err) // heard only while it is starting
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func keep(ctx context.Context, dir string, ready *os.File) error {
	unlock, err := lockFile(filepath.Join(dir, "keeper.lock")) // the one before may still be stopping
	if err != nil {
		return err
	}
	defer unlock()
	cluster := filepath.Join(dir, "cluster")
	p, err := startShared(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() {
		p.Stop(context.WithoutCancel(ctx))
		_ = os.RemoveAll(cluster)
	}()
	k, err := newKeeper(hello{URL: p.URL("", ""), Keeper: os.Getpid(), Postmaster: p.PID()})
	if err != nil {
		return err
	}
	defer func() { _ = k.listener.Close() }()
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(k.listener.Addr().String()), 0o600); err != nil {
		return err
	}
	_, _ = ready.WriteString("ready\n")
	_ = ready.Close()
	return k.serve(ctx, p.Done())
}

func startShared(ctx context.Context, cluster string) (*local.Postgres, error) {
	if err := discard(ctx, cluster); err != nil { // of a keeper that was killed
		return nil, err
	}
	raw, err := prepared(ctx, false)
	if err != nil {
		return nil, err
	}
	if err := copyTree(raw, cluster); err != nil {
		return nil, err
	}
	return local.StartPostgres(ctx, local.PostgresConfig{Dir: cluster, Trust: true, Extra: sharedSettings})
}

var sharedSettings = map[string]string{
	"max_connections": "400",
	"autovacuum":      "off",   // databases live for seconds, and a worker in one delays its dropping
	"max_wal_size":    "256MB", // it may be memory
}

func newKeeper(h hello) (*keeper, error) {
	idle := idleFor
	if text := os.Getenv(idleEnv); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", idleEnv, err)
		}
		idle = d
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &keeper{listener: l, idle: idle, hello: h, joined: make(chan net.Conn), left: make(chan net.Conn)}, nil
}

// serve counts users until there have been none for a while.
func (k *keeper) serve(ctx context.Context, died <-chan struct{}) error {
	ended := make(chan struct{})
	defer close(ended)
	go k.accept(ended)
	users := 0
	idle := time.NewTimer(k.idle)
	for {
		select {
		case conn := <-k.joined:
			idle.Stop()
			users++
			go k.use(conn, ended)
		case <-k.left:
			if users--; users == 0 {
				idle.Reset(k.idle)
			}
		case <-idle.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-died:
			return errors.New("the shared cluster ended by itself")
		}
	}
}

// accept hands over each user; one that comes when the keeper is ending is hung
// up on without a hello, and starts the next keeper.
func (k *keeper) accept(ended <-chan struct{}) {
	for {
		conn, err := k.listener.Accept()
		if err != nil {
			return
		}
		select {
		case k.joined <- conn:
		case <-ended:
			_ = conn.Close()
			return
		}
	}
}

func (k *keeper) use(conn net.Conn, ended <-chan struct{}) {
	defer func() { _ = conn.Close() }()
	if json.NewEncoder(conn).Encode(k.hello) == nil {
		_, _ = conn.Read(make([]byte, 1)) // nothing is ever sent: it returns when the user is gone
	}
	select {
	case k.left <- conn:
	case <-ended:
	}
}
