package testenv

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/finnest/event-runtime/internal/local"
)

// An Option changes a cluster of the test's own.
type Option func(*clusterOptions)

type clusterOptions struct {
	settings map[string]string
	raw      bool
	durable  bool
	tmpfs    int64
}

// Raw leaves the migrations out: one empty database.
func Raw() Option { return func(o *clusterOptions) { o.raw = true } }

// Setting is one line of postgresql.conf, as wal_level or max_slot_wal_keep_size.
func Setting(name, value string) Option {
	return func(o *clusterOptions) { o.settings[name] = value }
}

// Durable turns fsync on, as in production.
func Durable() Option { return func(o *clusterOptions) { o.durable = true } }

// OnTmpfs puts the data on a small file system of its own, which FillDisk fills.
// A cluster needs some 64 MiB. Where mounting is not permitted the test is skipped.
func OnTmpfs(bytes int64) Option { return func(o *clusterOptions) { o.tmpfs = bytes } }

// A PostgresServer is a cluster of the test's own.
type PostgresServer struct {
	*DB // the migrated database; with Raw an empty one
	cfg local.PostgresConfig
	pg  *local.Postgres // the last one started
}

// Cluster gives the test a Postgres server of its own: it may hold slots, be
// stopped, killed, paused, and run out of disk.
func Cluster(t testing.TB, options ...Option) *PostgresServer {
	t.Helper()
	o := clusterOptions{settings: map[string]string{}}
	for _, option := range options {
		option(&o)
	}
	from, err := prepared(t.Context(), !o.raw)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(clusterParent(t, o), "cluster")
	if err := copyTree(from, dir); err != nil {
		t.Fatalf("copy a prepared cluster: %v", err)
	}
	c := &PostgresServer{cfg: local.PostgresConfig{Dir: dir, Trust: true, Durable: o.durable, Extra: o.settings}}
	c.DB = &DB{t: t, name: database}
	if o.raw {
		c.name = superuser
	}
	c.Start()
	t.Cleanup(c.close)
	return c
}

// Start starts the server again, on the same port.
func (c *PostgresServer) Start() {
	c.t.Helper()
	pg, err := local.StartPostgres(c.t.Context(), c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pg, c.cfg.Port = pg, pg.Port()
	if c.server, err = parseServer(pg.URL("", "")); err != nil {
		c.t.Fatal(err)
	}
}

// Stop ends the server in order.
func (c *PostgresServer) Stop() { c.pg.Stop(context.WithoutCancel(c.t.Context())) }

// Kill ends every process of the server with SIGKILL.
func (c *PostgresServer) Kill() { c.pg.Kill() }

// Pause stops every process of the server in its tracks, until Resume.
func (c *PostgresServer) Pause() { c.pg.Pause() }

// Resume undoes Pause.
func (c *PostgresServer) Resume() { c.pg.Resume() }

// Done is closed when the server is gone.
func (c *PostgresServer) Done() <-chan struct{} { return c.pg.Done() }

// PID is the postmaster's process id.
func (c *PostgresServer) PID() int { return c.pg.PID() }

// Port is the loopback TCP port; it stays the same over a restart.
func (c *PostgresServer) Port() int { return c.cfg.Port }

// Log is the end of the server's log.
func (c *PostgresServer) Log() string { return c.pg.Log() }

// Dir is where the cluster's files are.
func (c *PostgresServer) Dir() string { return c.cfg.Dir }

// close ends the server; nobody needs what is in it. It is not killed: the kernel
// would keep its shared memory, and have room for a few thousand such pieces only.
func (c *PostgresServer) close() {
	if c.t.Failed() {
		c.t.Logf("postgres:\n%s", c.pg.Log())
	}
	atOnce, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	cancel() // no time for a checkpoint
	c.pg.Stop(atOnce)
}
