package local

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// pipesLinger bounds how long the output pipes of a dead process may be held
// open by what it started.
const pipesLinger = 10 * time.Second

// A Process is a running child.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; set before done is closed
}

// Spawn starts cmd in a process group of its own, so that a Ctrl-C meant for us
// does not stop everything at once. When we die it gets the signal death, where
// the system can do that (Linux); 0 lets it live on.
func Spawn(cmd *exec.Cmd, death syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = pipesLinger
	}
	bindDeath(cmd.SysProcAttr, death)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run starts the child and waits for it on one locked thread: the kernel sends
// the death signal when the thread that forked dies, not when the process does.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		err = p.cmd.Wait()
	}
	p.err = err
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child is gone and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the end and says how it came; nil is an exit status of 0.
func (p *Process) Err() error { <-p.done; return p.err }

// State is the exit state; nil before Done.
func (p *Process) State() *os.ProcessState {
	select {
	case <-p.done:
		return p.cmd.ProcessState
	default:
		return nil
	}
}

// Signal sends sig to the child alone. A child that is gone is no failure of
// the caller's to handle: os.ErrProcessDone says so.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// end asks for an exit with sig, and takes it after grace.
func (p *Process) end(sig syscall.Signal, grace time.Duration) {
	_ = p.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.Signal(syscall.SIGKILL)
		<-p.done
	}
}
