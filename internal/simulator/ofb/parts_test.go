package ofb

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestQueueIsInOrderOfTimeThenOfArrival(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		type pushed struct{ due, n int64 }
		var want []pushed
		for n, due := range rapid.SliceOfN(rapid.Int64Range(0, 9), 1, 60).Draw(t, "dues") {
			q.push(due, int32(n))
			want = append(want, pushed{due, int64(n)})
		}
		slices.SortStableFunc(want, func(a, b pushed) int { return int(a.due - b.due) })
		for _, w := range want {
			if due, ok := q.next(); !ok || due != w.due {
				t.Fatalf("got %d due at %d, want %d", due, due, w.due)
			}
			if got := q.pop(); int64(got.arrival) != w.n {
				t.Fatalf("got errand %d, want %d", got.arrival, w.n)
			}
		}
	})
}

func TestLimiterAdmitsAtMostItsRateInAnySecond(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "rate")
		l, now, org := newLimiter(n), epoch, uuid.New()
		var admitted []time.Time
		for _, gap := range rapid.SliceOfN(rapid.IntRange(0, 400), 1, 60).Draw(t, "gaps") {
			now = now.Add(time.Duration(gap) * time.Millisecond)
			recent := 0
			for _, a := range admitted {
				if now.Sub(a) < time.Second {
					recent++
				}
			}
			wait, ok := l.admit(org, now)
			if ok != (recent < n) {
				t.Fatalf("with %d of %d in the last second: got %v", recent, n, ok)
			}
			if ok {
				admitted = append(admitted, now)
			} else if now = now.Add(wait); wait <= 0 || wait > time.Second {
				t.Fatalf("got wait %v", wait)
			} else if _, ok := l.admit(org, now); !ok {
				t.Fatal("refused after waiting as long as was said")
			} else {
				admitted = append(admitted, now)
			}
		}
	})
}

func TestLimiterSurvivesAClockSetBack(t *testing.T) {
	t.Parallel()
	l, org := newLimiter(1), uuid.New()
	l.admit(org, epoch)
	if _, ok := l.admit(org, epoch.Add(-time.Hour)); !ok {
		t.Error("refused for an admission in the future")
	}
}

// TestDueReportsArePairedWithoutAnybodyAsking runs the loop under synthetic time.
func TestDueReportsArePairedWithoutAnybodyAsking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(Config{VisibilityDelay: 2 * time.Second}, newClock(nil))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = s.run(ctx) }()
		defer synctest.Wait()
		defer cancel()
		state := func() state {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.arrivals.at(0).state
		}
		r := record{http: unplanned, items: []entry{{report: report{role: client, interaction: uuid.New(), timestamp: time.Now()}}}}
		if err := s.record(&r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1990 * time.Millisecond)
		if got := state(); got != accepted {
			t.Errorf("got %v before the delay, want ACCEPTED", got)
		}
		time.Sleep(20 * time.Millisecond)
		if got := state(); got != unpaired {
			t.Errorf("got %v after the delay, want UNPAIRED", got)
		}
		other := record{http: unplanned, items: []entry{{report: r.items[0].report}}}
		other.items[0].role = server
		if err := s.record(&other); err != nil {
			t.Fatal(err)
		}
		s.clock.move(time.Hour)
		s.nudge()
		if got := state(); got != paired {
			t.Errorf("got %v after the clock was set, want PAIRED", got)
		}
	})
}

func TestSeedGivesTheSameIdsAndNumbersNeverRepeat(t *testing.T) {
	t.Parallel()
	draw := func(seed, number uint64) (ids []uuid.UUID) {
		r := record{number: number, items: make([]entry, 50), others: make([]entry, 5)}
		r.identities(seed)
		for _, e := range append(r.items, r.others...) {
			ids = append(ids, e.id)
		}
		return ids
	}
	if !slices.Equal(draw(1, 1), draw(1, 1)) {
		t.Error("one seed gave two series")
	}
	seen := map[uuid.UUID]bool{}
	for number := range uint64(100) {
		for _, id := range draw(1, number) {
			if seen[id] || id.Version() != 4 || id.Variant() != uuid.RFC4122 {
				t.Fatalf("got %v", id)
			}
			seen[id] = true
		}
	}
}

func TestAcceptHeaders(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"application/json": true, "*/*": true, "application/*;q=0.1": true, "text/html, application/json; charset=utf-8": true,
		"text/html": false, "application/json;q=0": false, "application/json;q=0.000": false, "": false, "application/jsonp": false,
	} {
		if got := admitsJSON([]string{header}); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	if !admitsJSON(nil) {
		t.Error("no header: got false, want true")
	}
}
