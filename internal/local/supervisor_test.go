package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run is a supervisor at work, and what it tells.
type run struct {
	*Supervisor
	t      *testing.T
	events chan Event
	cancel context.CancelFunc
	ended  chan error
}

func supervise(t *testing.T, cfg SupervisorConfig, children ...Child) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{t: t, events: make(chan Event, 1000), cancel: cancel, ended: make(chan error, 1)}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Notify = func(e Event) { r.events <- e }
	s, err := NewSupervisor(cfg, children...)
	if err != nil {
		t.Fatal(err)
	}
	r.Supervisor = s
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// next gives the next event of a child in one of the states.
func (r *run) next(name string, state State) Event {
	r.t.Helper()
	for {
		select {
		case e := <-r.events:
			if e.Child == name && e.State == state {
				return e
			}
		case <-time.After(20 * time.Second):
			r.t.Fatalf("%s never became %s; it is %+v", name, state, r.Status())
		}
	}
}

func (r *run) stop() error {
	r.cancel()
	return <-r.ended
}

func TestSupervisorStartsInOrderAndStopsInTheOpposite(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	answer := make(chan struct{})
	r := supervise(t, SupervisorConfig{},
		Child{Name: "first", Env: as("wait -"), Ready: func(context.Context) error {
			close(asked)
			<-answer
			return nil
		}},
		Child{Name: "second", Env: as("wait -")})
	<-asked
	if got := r.Status()[1].State; got != Stopped {
		t.Errorf("second child before the first is ready: got %v, want %v", got, Stopped)
	}
	close(answer)
	<-r.Ready()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(r.events) > 0 {
		e := <-r.events
		got = append(got, e.Child+" "+string(e.State))
	}
	want := "first running, first ready, second running, second ready, second stopped, first stopped"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestSupervisorRestartsACrashedChildAndNoOther(t *testing.T) {
	t.Parallel()
	r := supervise(t, SupervisorConfig{}, Child{Name: "a", Env: as("wait -")}, Child{Name: "b", Env: as("wait -")})
	<-r.Ready()
	before := r.Status()
	for range 2 * DefaultRestart.Tries { // chaos does not make a child hopeless
		if err := r.Kill("a", syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if e := r.next("a", Waiting); e.Err == nil || !strings.Contains(e.Err.Error(), "killed") {
			t.Errorf("got end %v, want killed", e.Err)
		}
		r.next("a", Ready)
	}
	after := r.Status()
	if after[0].PID == before[0].PID || after[0].Restarts != 2*DefaultRestart.Tries {
		t.Errorf("killed child: got %+v, want another process and %d restarts", after[0], 2*DefaultRestart.Tries)
	}
	if after[1].PID != before[1].PID || after[1].Restarts != 0 {
		t.Errorf("other child: got %+v, want it untouched", after[1])
	}
}

func TestSupervisorEndsWithAChildThatCannotStart(t *testing.T) {
	t.Parallel()
	quick := DefaultRestart
	quick.First, quick.Most = time.Millisecond, time.Millisecond
	r := supervise(t, SupervisorConfig{Restart: quick}, Child{Name: "fine", Env: as("wait -")}, Child{Name: "broken", Env: as("fail no such setting")})
	err := <-r.ended
	for _, want := range []string{"broken", "5 times", "exit status 3", "cannot start: no such setting"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	for _, c := range r.Status() {
		if c.PID != 0 {
			t.Errorf("%s is left running", c.Name)
		}
	}
}

func TestSupervisorSaysWhatIsNotReady(t *testing.T) {
	t.Parallel()
	r := supervise(t, SupervisorConfig{ReadyWithin: 300 * time.Millisecond}, Child{Name: "slow", Env: as("wait -"),
		Ready: func(context.Context) error { return errors.New("not yet") }})
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "slow is not ready") {
		t.Errorf("got %v, want it to name the child", err)
	}
}

func TestSupervisorTakesAStubbornChildAfterItsGrace(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"ignores the signal": 0, "was stopped": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := supervise(t, SupervisorConfig{}, Child{Name: "a", Env: as("stubborn -"), Grace: 200 * time.Millisecond})
			<-r.Ready()
			pid := r.Status()[0].PID
			if err := r.Kill("a", sig); err != nil {
				t.Fatal(err)
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			wantGone(t, pid)
		})
	}
}

func TestSupervisorRefusesASecondOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := supervise(t, SupervisorConfig{Dir: dir}, Child{Name: "a", Env: as("wait -")})
	<-r.Ready()
	s, err := NewSupervisor(SupervisorConfig{Dir: dir}, Child{Name: "a", Env: as("wait -")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
}

func TestSupervisorTreeDiesByKill9AndComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		parent, lines := startRole(t, "supervisor "+dir)
		children := []int{readPID(t, lines), readPID(t, lines)}
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range children {
			wantGone(t, pid)
		}
	}
}

func TestSurvivors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, ready := startRole(t, "wait -")
	other, alsoReady := startRole(t, "wait -")
	ready.Scan()
	alsoReady.Scan()
	if err := writePID(dir, "ours", ours.Process.Pid); err != nil {
		t.Fatal(err)
	}
	stale := strconv.Itoa(other.Process.Pid) + "\nanother life of this number\n"
	for name, text := range map[string]string{"stale": stale, "empty": "", "torn": "12"} {
		if err := os.WriteFile(pidPath(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := endSurvivors(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	wantGone(t, ours.Process.Pid)
	wantAlive(t, other.Process.Pid)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.pid")); len(left) > 0 {
		t.Errorf("got pid files %v left, want none", left)
	}
}

func TestSupervisorNames(t *testing.T) {
	t.Parallel()
	for name, children := range map[string][]Child{
		"empty": {{}}, "a path": {{Name: "../a"}}, "twice": {{Name: "a"}, {Name: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewSupervisor(SupervisorConfig{Dir: t.TempDir()}, children...); err == nil {
				t.Error("got no error")
			}
		})
	}
}
