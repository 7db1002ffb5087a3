package local

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRestart(t *testing.T) {
	r := Restart{First: 100 * time.Millisecond, Most: time.Second, Stable: time.Minute, Early: time.Second, Tries: 3}
	for name, c := range map[string]struct {
		before history
		ran    time.Duration
		asked  bool
		next   verdict
		wait   time.Duration
	}{
		"a first crash waits shortly":             {history{}, 10 * time.Second, false, restart, r.First},
		"the next one twice as long":              {history{wait: r.First}, 10 * time.Second, false, restart, 2 * r.First},
		"never longer than the most":              {history{wait: r.Most}, 10 * time.Second, false, restart, r.Most},
		"a stable run begins anew":                {history{wait: r.Most, early: 2}, time.Minute, false, restart, r.First},
		"the last failure to start is hopeless":   {history{early: 2}, 0, false, hopeless, 0},
		"a longer run breaks the row of failures": {history{early: 2}, time.Second, false, restart, r.First},
		"a kill that was asked for is no failure": {history{early: 2}, 0, true, restart, r.First},
	} {
		t.Run(name, func(t *testing.T) {
			_, next, wait := r.after(c.before, c.ran, c.asked)
			if next != c.next || wait != c.wait {
				t.Errorf("got %v after %v, want %v after %v", next, wait, c.next, c.wait)
			}
		})
	}
}

// Whatever a child does: it is given up after Tries failures to start in a row
// and not before, and the waits stay within their bounds.
func TestRestartGivesUpExactlyThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := DefaultRestart
		runs := rapid.SliceOf(rapid.Int64Range(0, int64(2*r.Stable))).Draw(t, "runs")
		var h history
		row := 0
		for _, ran := range runs {
			var next verdict
			var wait time.Duration
			h, next, wait = r.after(h, time.Duration(ran), false)
			if row++; time.Duration(ran) >= r.Early {
				row = 0
			}
			if want := row == r.Tries; want != (next == hopeless) {
				t.Fatalf("got %v after %d failures in a row", next, row)
			}
			if next == hopeless {
				return
			}
			if wait < r.First || wait > r.Most {
				t.Fatalf("got a wait of %v, want %v to %v", wait, r.First, r.Most)
			}
		}
	})
}
