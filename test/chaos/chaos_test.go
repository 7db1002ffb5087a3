package chaos

import (
	"context"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
)

const stormFor = 20 * time.Second

// Under load everything breaks at random. When it is whole again and at rest,
// nothing is lost and nothing doubled.
func TestChaos(t *testing.T) {
	t.Parallel()
	lasts := stormFor
	if text := os.Getenv("CHAOS_FOR"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS_FOR: %v", err)
		}
	}
	s := newStorm(newRig(t))
	during, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	loaded := s.load(during, 40, banks()...)
	for during.Err() == nil {
		s.strike(during)
		s.keep()
	}
	<-loaded
	s.heal()
	s.quiescent()
	s.oracle()
	s.tellStrikes()
}

// A storm breaks what a rig is made of. Its dice are its own: the load draws from
// the rig's, as fast as it can.
type storm struct {
	*rig
	dice    *mrand.Rand
	running [3]*testenv.Process // a relay and two workers
	struck  map[string]int
}

func newStorm(r *rig) *storm {
	s := &storm{rig: r, dice: mrand.New(mrand.NewPCG(r.seedValue, 1)), struck: map[string]int{}}
	s.keep()
	return s
}

// keep starts again what has died, as a supervisor does.
func (s *storm) keep() {
	for i, p := range s.running {
		if p == nil || gone(p) {
			s.running[i] = s.begin(i)
		}
	}
}

// commands is what runs in each place.
var commands = [3]string{"relay", "serve", "serve"}

func (s *storm) begin(place int, env ...string) *testenv.Process {
	if commands[place] == "relay" {
		return s.relay(env...)
	}
	return s.serve(env...)
}

// strikes are what can happen. Each is over when it returns, except for what
// waits for somebody to run into it.
func (s *storm) strikes() map[string]func(ctx context.Context) {
	return map[string]func(ctx context.Context){
		"process killed":     func(context.Context) { s.running[s.dice.IntN(len(s.running))].Kill() },
		"process told to go": func(context.Context) { p := s.running[s.dice.IntN(len(s.running))]; p.Send(terminate); p.Wait() },
		"process armed":      func(context.Context) { s.arm() },
		"process stopped":    func(ctx context.Context) { s.freeze(ctx, s.running[s.dice.IntN(len(s.running))]) },
		"connections reset":  func(context.Context) { s.proxy.Reset() },
		"port closed":        func(ctx context.Context) { s.proxy.Refuse(); s.wait(ctx, 2*time.Second); s.proxy.Accept() },
		"silence":            func(ctx context.Context) { s.proxy.Pause(); s.wait(ctx, 3*time.Second); s.proxy.Resume() },
		"connection cut":     func(context.Context) { s.proxy.Next(s.cut()) },
		"regulator fails":    func(context.Context) { s.regulator.Inject(s.fault()) },
		"nats restarted":     func(ctx context.Context) { s.nats.Stop(); s.wait(ctx, time.Second); s.nats.Start() },
		"postgres killed":    func(ctx context.Context) { s.db.Kill(); s.wait(ctx, time.Second); s.db.Start() },
		"postgres stopped":   func(ctx context.Context) { s.db.Pause(); s.wait(ctx, 2*time.Second); s.db.Resume() },
	}
}

// strike waits a moment and lets one thing happen.
func (s *storm) strike(ctx context.Context) {
	s.t.Helper()
	s.wait(ctx, time.Second)
	if ctx.Err() != nil {
		return
	}
	all := s.strikes()
	names := slices.Sorted(maps.Keys(all))
	name := names[s.dice.IntN(len(names))]
	s.struck[name]++
	s.t.Logf("%s  %s", time.Now().Format("15:04:05.000"), name)
	all[name](ctx)
}

// wait lets a random part of most pass: a storm has no event to wait for.
func (s *storm) wait(ctx context.Context, most time.Duration) {
	pause := time.NewTimer(time.Duration(s.dice.Int64N(int64(most))))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// arm puts a process in the place of another, which dies at a random point if it
// ever passes there.
func (s *storm) arm() {
	places := crash.Places()
	at := places[s.dice.IntN(len(places))]
	nth := 1 + s.dice.IntN(3)
	if at.Name == "after_k_bytes" {
		nth = 1 + s.dice.IntN(20_000)
	}
	i := slices.Index(commands[:], at.Process)
	s.running[i].Kill()
	s.running[i] = s.begin(i, fmt.Sprintf("%s=%s:%d", crash.Env, at.Name, nth))
	s.t.Logf("armed: %s:%d", at.Name, nth)
}

// freeze stops a process for longer than its leases last, or not.
func (s *storm) freeze(ctx context.Context, p *testenv.Process) {
	p.Send(syscall.SIGSTOP)
	s.wait(ctx, 5*time.Second)
	p.Send(syscall.SIGCONT)
}

// cut is a rule that breaks one connection somewhere, one way or both.
func (s *storm) cut() (rule testenv.Rule) {
	actions := []testenv.Action{testenv.Reset, testenv.Blackhole, testenv.Stall, testenv.HalfClose}
	for _, way := range []*testenv.Fault{&rule.Up, &rule.Down} {
		if s.dice.IntN(2) == 0 {
			*way = testenv.Fault{After: s.dice.Int64N(15_000), Then: actions[s.dice.IntN(len(actions))]}
		}
	}
	return rule
}

// fault is one that the regulator, or its network, may have without lying about
// what it holds, and that clears up without a person.
func (s *storm) fault() simulator.Fault {
	report := func(f simulator.Fault) simulator.Fault { f.Operation = simulator.OnReport; return f }
	all := []simulator.Fault{
		report(simulator.Fault{Kind: simulator.LoseRequest}), report(simulator.Fault{Kind: simulator.LoseAnswer}), report(simulator.Fault{Kind: simulator.CutAnswer, Bytes: 40}),
		report(simulator.Fault{Kind: simulator.Delay, Delay: simulator.Duration(2 * time.Second), When: "after"}),
		report(simulator.Fault{Kind: simulator.Status, Code: 429, RetryAfter: simulator.Duration(time.Second)}),
		report(simulator.Fault{Kind: simulator.Status, Code: 503}), report(simulator.Fault{Kind: simulator.Status, Code: 500, When: "after"}),
		report(simulator.Fault{Kind: simulator.ForeignBody}), report(simulator.Fault{Kind: simulator.Revoke}),
		report(simulator.Fault{Kind: simulator.Truncate}), report(simulator.Fault{Kind: simulator.WrongLength}), report(simulator.Fault{Kind: simulator.UnknownStatus}),
		report(simulator.Fault{Kind: simulator.DuplicateReceipt}), report(simulator.Fault{Kind: simulator.Gzip}), report(simulator.Fault{Kind: simulator.ForeignIDs, Form: simulator.MalformedID}),
		{Operation: simulator.OnLookup, Kind: simulator.LoseAnswer}, {Operation: simulator.OnLookup, Kind: simulator.Status, Code: 503},
		{Operation: simulator.OnToken, Kind: simulator.Status, Code: 503}, {Operation: simulator.OnToken, Kind: simulator.LoseAnswer},
	}
	f := all[s.dice.IntN(len(all))]
	f.Times = 1 + s.dice.IntN(3)
	return f
}

// heal makes everything whole: processes without points, a wire that passes
// everything, a regulator that answers.
func (s *storm) heal() {
	s.t.Helper()
	s.regulator.Heal("")
	s.proxy.Always(testenv.Rule{})
	for i, p := range s.running {
		p.Kill()
		s.running[i] = s.begin(i)
	}
}

// tellStrikes says what this run has been through; one that was not struck
// proves nothing.
func (s *storm) tellStrikes() {
	s.t.Helper()
	s.t.Logf("%d events, struck by %v", s.appended(), s.struck)
	if len(s.struck) == 0 {
		s.t.Error("nothing happened")
	}
}
