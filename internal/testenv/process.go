package testenv

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/local"
)

const exitWithin = time.Minute

// A Process is a program under test. It dies with the test, and with the test's
// process.
type Process struct {
	t    testing.TB
	name string
	proc *local.Process
	out  *output
}

// Start runs a program; env comes on top of the test's own. What it prints is
// shown when the test fails.
func Start(t testing.TB, bin string, args, env []string) *Process {
	t.Helper()
	p := &Process{t: t, name: strings.Join(append([]string{bin}, args...), " "), out: newOutput()}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	var err error
	if p.proc, err = local.Spawn(cmd, syscall.SIGKILL); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		<-p.proc.Done()
		p.out.close()
	}()
	t.Cleanup(p.end)
	return p
}

func (p *Process) end() {
	_ = p.proc.Signal(syscall.SIGKILL)
	<-p.proc.Done()
	if p.t.Failed() {
		p.t.Logf("%s:\n%s", p.name, p.Log())
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.proc.PID() }

// Done is closed when the process is gone and its output is read.
func (p *Process) Done() <-chan struct{} { return p.proc.Done() }

// Log is all it has printed.
func (p *Process) Log() string { return p.out.text() }

// Signal sends it a signal; a process that is gone fails the test.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.proc.Signal(sig); err != nil {
		p.t.Fatalf("signal %v to %s: %v", sig, p.name, err)
	}
}

// Send sends a signal to a process that may be gone.
func (p *Process) Send(sig syscall.Signal) { _ = p.proc.Signal(sig) }

// Kill ends it with SIGKILL and waits; a process that is gone is no failure.
func (p *Process) Kill() {
	_ = p.proc.Signal(syscall.SIGKILL)
	<-p.proc.Done()
}

// Wait waits for the end; what does not end fails the test.
func (p *Process) Wait() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.proc.Done():
	case <-time.After(exitWithin):
		p.t.Fatalf("%s did not end within %v", p.name, exitWithin)
	}
	return p.proc.State()
}

// ExitedWith waits for the end and fails the test when it came otherwise. A
// signal counts as a shell does: 128 and its number.
func (p *Process) ExitedWith(want int) {
	p.t.Helper()
	state := p.Wait()
	got := state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		got = 128 + int(status.Signal())
	}
	if got != want {
		p.t.Fatalf("%s: got exit status %d, want %d", p.name, got, want)
	}
}

// Line waits for a line that contains text and gives it. A process that ends
// without printing it fails the test.
func (p *Process) Line(text string) string {
	p.t.Helper()
	line, err := p.out.await(text, exitWithin)
	if err != nil {
		p.t.Fatalf("%s: no line with %q: %v", p.name, text, err)
	}
	return line
}
