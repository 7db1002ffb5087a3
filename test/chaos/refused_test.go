package chaos

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
)

// What was refused or reset before a byte of the request was written cannot have
// been stored: it is sent again by itself, without asking, and stored once.
func TestScenario3NeverSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, withBatchesOf(6))
	r.relay()
	r.serve()
	r.quiescent()
	for name, fail := range map[string]struct{ begin, end func() }{
		"the port is closed":       {r.proxy.Refuse, r.proxy.Accept},
		"reset when accepted":      r.always(testenv.Rule{Refuse: true}),
		"reset before any byte":    r.always(testenv.Rule{Up: testenv.Fault{Then: testenv.Reset}}),
		"reset in the handshake":   r.always(testenv.Rule{Up: testenv.Fault{After: 300, Then: testenv.Reset}}),
		"silence in the handshake": r.always(testenv.Rule{Down: testenv.Fault{After: 100, Then: testenv.Blackhole}}),
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			steps, posts, failed := len(r.history()), r.posts(), r.neverSent()
			fail.begin()
			r.calls(6, banks()[1])
			r.until("two attempts failed", 30*time.Second, func() bool { return r.neverSent() >= failed+2 })
			fail.end()
			r.quiescent()
			r.oracle()
			for _, s := range r.history()[steps:] {
				if s.state == "submit_unconfirmed" {
					t.Errorf("it came into doubt: %v", s)
				}
			}
			if n := r.posts() - posts; n != 1 {
				t.Errorf("the regulator read %d requests, want 1", n)
			}
		})
	}
}

// always is a rule for each connection, and its end.
func (r *rig) always(rule testenv.Rule) struct{ begin, end func() } {
	return struct{ begin, end func() }{func() { r.proxy.Always(rule) }, func() { r.proxy.Always(testenv.Rule{}) }}
}

func (r *rig) neverSent() int64 {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.submission_attempts WHERE outcome = 'never_sent' AND code = 'connect_failed'`)
}
