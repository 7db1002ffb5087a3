package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SupervisorConfig is what its children have in common.
type SupervisorConfig struct {
	Dir         string        // lock, pid files and logs; one supervisor at a time
	Binary      string        // default: the running program
	LogBytes    int64         // a log's size before it is rotated; default 16 MiB
	Restart     Restart       // default DefaultRestart
	ReadyWithin time.Duration // for each child at start; default one minute
	Notify      func(Event)   // told of each change, from the child's goroutine; may be nil
}

// Event is one change of one child.
type Event struct {
	Child string
	State State
	PID   int
	Err   error // how it ended, when it does not run
}

// A Supervisor keeps child processes of one program running.
type Supervisor struct {
	cfg      SupervisorConfig
	children []*child
	failed   chan error // one place for each child: none waits to report
	ready    chan struct{}
}

// NewSupervisor prepares children, in the order of their start; it starts none.
func NewSupervisor(cfg SupervisorConfig, children ...Child) (*Supervisor, error) {
	if cfg.Binary == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the running program: %w", err)
		}
		cfg.Binary = exe
	}
	if cfg.Restart == (Restart{}) {
		cfg.Restart = DefaultRestart
	}
	if cfg.ReadyWithin == 0 {
		cfg.ReadyWithin = time.Minute
	}
	s := &Supervisor{cfg: cfg, failed: make(chan error, len(children)), ready: make(chan struct{})}
	seen := map[string]bool{}
	for _, c := range children {
		if c.Name == "" || c.Name != filepath.Base(c.Name) || seen[c.Name] {
			return nil, fmt.Errorf("child name %q is empty, a path, or taken", c.Name)
		}
		seen[c.Name] = true
		s.children = append(s.children, newChild(c, cfg))
	}
	return s, nil
}

// Run starts the children one after the other, each when the one before is
// ready, and keeps them running until ctx ends or one is hopeless. Then it
// stops them in the opposite order. Nothing of it is left when it returns.
func (s *Supervisor) Run(ctx context.Context) error {
	claim, err := ClaimDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("supervise: %w", err)
	}
	defer claim.Release()
	if err := endSurvivors(ctx, s.cfg.Dir); err != nil {
		return fmt.Errorf("supervise: %w", err)
	}
	defer s.stopAll()
	for _, c := range s.children {
		if err := s.start(ctx, c); err != nil {
			return s.unlessStopped(ctx, err)
		}
	}
	close(s.ready)
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return fmt.Errorf("supervise: %w", err)
	}
}

// unlessStopped: being told to stop while starting is no failure.
func (s *Supervisor) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("supervise: %w", err)
}

// start runs c and waits until it is ready, or any child is hopeless.
func (s *Supervisor) start(ctx context.Context, c *child) error {
	if err := c.launch(s.failed); err != nil {
		return err
	}
	late := time.NewTimer(s.cfg.ReadyWithin)
	defer late.Stop()
	select {
	case <-c.ready:
		return nil
	case err := <-s.failed:
		return err
	case <-late.C:
		return fmt.Errorf("%s is not ready after %v\n%s", c.Name, s.cfg.ReadyWithin, c.log.Tail())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopAll stops in the opposite order: what others need goes last.
func (s *Supervisor) stopAll() {
	for i := len(s.children) - 1; i >= 0; i-- {
		s.children[i].stop()
	}
}

// Ready is closed when every child has been ready once.
func (s *Supervisor) Ready() <-chan struct{} { return s.ready }

// Status tells how each child is, in the order of their start.
func (s *Supervisor) Status() []Status {
	all := make([]Status, 0, len(s.children))
	for _, c := range s.children {
		all = append(all, c.status())
	}
	return all
}

// Kill sends a signal to a child; whatever it does to the child does not count
// against it.
func (s *Supervisor) Kill(name string, sig syscall.Signal) error {
	for _, c := range s.children {
		if c.Name == name {
			return c.kill(sig)
		}
	}
	return fmt.Errorf("no child %q", name)
}
