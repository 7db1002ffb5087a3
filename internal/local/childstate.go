package local

import (
	"os"
	"syscall"
	"time"
)

// State is where a child stands.
//
//	stopped ──▶ running ──▶ ready ──▶ stopped
//	               ▲  │ ended  │
//	               │  ▼        ▼
//	               └─ waiting ◀┘   five failures to start: hopeless
type State string

// States of a child.
const (
	Stopped  State = "stopped"
	Running  State = "running"
	Ready    State = "ready"
	Waiting  State = "waiting"
	Hopeless State = "hopeless"
)

// Status is a child as a status line shows it.
type Status struct {
	Name     string
	State    State
	PID      int // 0 when it does not run
	Restarts int
	Since    time.Time // of the state
	Last     error     // how it ended the last time
}

// change makes one step and tells of it. The steps of a child are told in the
// order they are made; the listener may ask for the status meanwhile.
func (c *child) change(step func(now *Status) bool) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	made := step(&c.now)
	if made {
		c.now.Since = time.Now()
	}
	now := c.now
	c.mu.Unlock()
	if made && c.cfg.Notify != nil {
		event := Event{Child: now.Name, State: now.State, PID: now.PID}
		if now.PID == 0 {
			event.Err = now.Last
		}
		c.cfg.Notify(event)
	}
}

// began notes a new run.
func (c *child) began(p *Process) {
	c.change(func(now *Status) bool {
		if c.proc != nil {
			now.Restarts++
		}
		c.proc, c.asked = p, false
		now.State, now.PID = Running, p.PID()
		return true
	})
}

// ended notes the end of a run.
func (c *child) ended(to State, why error) {
	c.change(func(now *Status) bool {
		now.State, now.PID, now.Last = to, 0, why
		return true
	})
}

// becameReady leaves a child alone that ended while it was asked.
func (c *child) becameReady() {
	c.change(func(now *Status) bool {
		if now.State != Running {
			return false
		}
		now.State = Ready
		return true
	})
	c.once.Do(func() { close(c.ready) })
}

func (c *child) status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// takeAsked reports whether the last run was told to end, once.
func (c *child) takeAsked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = false
	return asked
}

func (c *child) kill(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.PID == 0 {
		return os.ErrProcessDone
	}
	if sig != syscall.SIGSTOP && sig != syscall.SIGCONT {
		c.asked = true
	}
	return c.proc.Signal(sig)
}
