package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	defaultGrace = 10 * time.Second
	askAgain     = 100 * time.Millisecond
)

// Child is one process to keep running.
type Child struct {
	Name  string        // of its log and pid file
	Args  []string      // to the program
	Env   []string      // beside our own
	Grace time.Duration // from SIGTERM to SIGKILL; default 10 s

	// Ready returns nil when the child can be used; nil itself: as soon as it
	// runs. It may wait, and is asked again after an error.
	Ready func(ctx context.Context) error
}

type child struct {
	Child
	cfg SupervisorConfig
	log *logFile // opened by launch

	cancel context.CancelFunc // set by launch
	gone   chan struct{}      // closed when run has returned
	ready  chan struct{}      // closed when it was ready for the first time
	once   sync.Once

	telling sync.Mutex // held while Notify runs; taken before mu
	mu      sync.Mutex
	now     Status
	proc    *Process
	asked   bool // this run was told to end by Kill
}

func newChild(c Child, cfg SupervisorConfig) *child {
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	return &child{Child: c, cfg: cfg, ready: make(chan struct{}), now: Status{Name: c.Name, State: Stopped}}
}

// launch starts the loop that keeps the child running; failed hears of it when
// that is hopeless.
func (c *child) launch(failed chan<- error) (err error) {
	if c.log, err = openLog(filepath.Join(c.cfg.Dir, "log", c.Name+".log"), c.cfg.LogBytes); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) // stop ends it, in its turn
	c.cancel, c.gone = cancel, make(chan struct{})
	go func() {
		defer close(c.gone)
		if err := c.run(ctx); err != nil {
			failed <- err
		}
	}()
	return nil
}

// stop ends the child and returns when it is gone; it does nothing to a child
// that was never launched.
func (c *child) stop() {
	if c.cancel == nil {
		return
	}
	c.cancel()
	<-c.gone
	c.log.Close()
}

func (c *child) run(ctx context.Context) error {
	var h history
	var next verdict
	var wait time.Duration
	for {
		began := time.Now()
		why := c.runOnce(ctx)
		if ctx.Err() != nil {
			c.ended(Stopped, why)
			return nil
		}
		h, next, wait = c.cfg.Restart.after(h, time.Since(began), c.takeAsked())
		if next == hopeless {
			c.ended(Hopeless, why)
			return fmt.Errorf("%s ended %d times within %v of its start: %w\n%s", c.Name, h.early, c.cfg.Restart.Early, why, c.log.Tail())
		}
		c.ended(Waiting, why)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			c.ended(Stopped, why)
			return nil
		}
	}
}

// runOnce runs the child to its end, which ctx brings about, and says how it came.
func (c *child) runOnce(ctx context.Context) error {
	p, err := c.spawn()
	if err != nil {
		return err
	}
	defer removePID(c.cfg.Dir, c.Name)
	c.began(p)
	defer c.askReady(ctx)()
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGCONT) // chaos may have stopped it
		p.end(syscall.SIGTERM, c.Grace)
	}
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

func (c *child) spawn() (*Process, error) {
	cmd := exec.Command(c.cfg.Binary, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	p, err := Spawn(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if err := writePID(c.cfg.Dir, c.Name, p.PID()); err != nil {
		p.end(syscall.SIGKILL, c.Grace)
		return nil, err
	}
	return p, nil
}

// askReady asks until the child is ready; what it returns ends the asking.
func (c *child) askReady(ctx context.Context) (stop func()) {
	if c.Ready == nil {
		c.becameReady()
		return func() {}
	}
	asking, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.Ready(asking) != nil {
			select {
			case <-asking.Done():
				return
			case <-time.After(askAgain):
			}
		}
		c.becameReady()
	}()
	return func() { cancel(); <-done }
}
