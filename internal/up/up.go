// Package up runs everything on one machine: a private Postgres, and child
// processes of the one binary for NATS, the regulator, the relay, the worker and
// the demonstration's banks.
//
// Promise: the same parts as `serve` in production, with data that survives
//
//	kill -9 of the whole tree; when Run returns nothing of it is left running.
//
// State:   the data directory.
// Failure: a child that dies is started again; one that cannot start ends the
//
//	whole with the tail of its log.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/local"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// Options are the flags of `up`.
type Options struct {
	Demo     bool
	DataDir  string
	Fresh    bool
	For      time.Duration // 0: until told to stop
	Rate     float64       // events a second of the demonstration
	Chaos    string        // "", light
	Seed     uint64        // of chaos; 0: drawn
	JSON     bool          // one object at the end, nothing else on standard output
	PortBase int

	SyncAlways bool   // JetStream syncs before each PubAck
	Binary     string // empty: this one
}

// machine is everything that runs.
type machine struct {
	opt      Options
	dir      string
	ports    ports
	postgres *local.Postgres
	children *local.Supervisor
	stopping atomic.Bool
	pool     *pgxpool.Pool // as runtime_readonly
	say      io.Writer     // for people
}

// ports are fixed, so that what a restart finds is where it was.
type ports struct{ postgres, nats, http, auth, api, control, bank, relay int }

func portsFrom(base int) ports {
	return ports{base, base + 1, base + 2, base + 3, base + 4, base + 5, base + 6, base + 7}
}

// Run starts everything and keeps it running. With For it drains, verifies and
// answers with the summary; all is well only if Summary.Well says so.
func Run(ctx context.Context, opt Options, stdout, stderr io.Writer) (*Result, error) {
	m := &machine{opt: opt, ports: portsFrom(opt.PortBase), say: stdout}
	if opt.JSON {
		m.say = stderr
	}
	if m.opt.Seed == 0 {
		m.opt.Seed = rand.Uint64() >> 1
	}
	if err := m.openDir(); err != nil {
		return nil, err
	}
	claim, err := local.ClaimDir(m.dir)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	if err := m.startDatabase(ctx); err != nil {
		return nil, err
	}
	defer m.stopDatabase(ctx)
	return m.run(ctx)
}

func (m *machine) openDir() (err error) {
	if m.dir, err = filepath.Abs(m.opt.DataDir); err != nil {
		return err
	}
	if m.opt.Fresh {
		if err := m.removeOld(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// marker tells our directory from somebody's home.
const marker = "event-runtime-data"

// removeOld deletes what an earlier run left, and only that.
func (m *machine) removeOld() error {
	if _, err := os.Stat(m.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(m.dir, marker)); err != nil {
		return fmt.Errorf("--fresh: %s was not made by `up` (no file %s in it): remove it yourself if you mean it", m.dir, marker)
	}
	claim, err := local.ClaimDir(m.dir)
	if err != nil {
		return err
	}
	defer claim.Release()
	if err := local.EndPostgres(context.Background(), filepath.Join(m.dir, "postgres")); err != nil {
		return fmt.Errorf("--fresh: end the server of an earlier run: %w", err)
	}
	return os.RemoveAll(m.dir)
}

func (m *machine) run(ctx context.Context) (*Result, error) {
	defer context.AfterFunc(ctx, func() { fmt.Fprintln(m.say, "stopping ...") })()
	running, stop := context.WithCancel(ctx)
	defer stop()
	var err error
	m.children, err = local.NewSupervisor(local.SupervisorConfig{Dir: filepath.Join(m.dir, "run"), Binary: m.opt.Binary, Notify: m.childChanged}, m.list()...)
	if err != nil {
		return nil, err
	}
	var result *Result
	defer context.AfterFunc(running, func() { m.stopping.Store(true) })()
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return m.children.Run(running) })
	g.Go(func() error {
		select {
		case <-running.Done():
			return nil
		case <-m.children.Ready():
		}
		m.welcome()
		defer func() { m.stopping.Store(true); stop() }()
		result, err = m.work(running)
		return err
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return result, err
	}
	return result, nil
}

// work is what happens while everything runs.
func (m *machine) work(ctx context.Context) (*Result, error) {
	working, done := context.WithCancel(ctx)
	defer done()
	if m.opt.For > 0 {
		var cancel context.CancelFunc
		working, cancel = context.WithTimeout(working, m.opt.For)
		defer cancel()
	}
	var g errgroup.Group
	g.Go(func() error { m.statusLines(working); return nil })
	if m.opt.Chaos != "" {
		g.Go(func() error { return m.chaos(working) })
	}
	err := g.Wait()
	if err != nil || m.opt.For == 0 || ctx.Err() != nil {
		return nil, err
	}
	return m.finish(ctx)
}

func (m *machine) childChanged(e local.Event) {
	if e.Err != nil && !m.stopping.Load() {
		fmt.Fprintf(m.say, "%s  %s ended (%v), starting it again\n", time.Now().Format(time.TimeOnly), e.Child, e.Err)
	}
}
