package capture

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

func (db *fakeDB) sizes() []int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.groups)
}

// hold makes commits wait until release, or the end of their attempt.
func (db *fakeDB) hold() (release func()) {
	gate := make(chan struct{})
	db.commit = func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return sync.OnceFunc(func() { close(gate) })
}

// askAll sends n calls side by side.
func (b *bench) askAll(n int) (answered *sync.WaitGroup) {
	answered = &sync.WaitGroup{}
	for range n {
		answered.Go(func() { b.ask() })
	}
	return answered
}

// While a commit is under way, those that come are the next one.
func TestCallsShareTheNextCommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calls int
		want  []int
	}{
		"nobody else":         {0, []int{1}},
		"one":                 {1, []int{1, 1}},
		"some":                {64, []int{1, 64}},
		"as many as fit":      {mostInGroup, []int{1, mostInGroup}},
		"one more than fit":   {mostInGroup + 1, []int{1, mostInGroup, 1}},
		"many more than that": {2*mostInGroup + 7, []int{1, mostInGroup, mostInGroup, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				release := b.db.hold()
				first := b.askAll(1)
				synctest.Wait() // its commit is under way
				others := b.askAll(c.calls)
				synctest.Wait() // they are in line
				start := time.Now()
				release()
				first.Wait()
				others.Wait()
				if got := b.db.sizes(); !slices.Equal(got, c.want) {
					t.Errorf("got transactions of %v, want %v", got, c.want)
				}
				if got, want := b.Stats(), (Stats{Server: Counts{Captured: int64(c.calls) + 1}}); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if waited := time.Since(start); waited != 0 {
					t.Errorf("they lingered for %v", waited)
				}
			})
		})
	}
}

func TestALoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 3 {
			start := time.Now()
			b.ask()
			if waited := time.Since(start); waited != 0 {
				t.Errorf("it lingered for %v", waited)
			}
		}
		if got := b.db.sizes(); !slices.Equal(got, []int{1, 1, 1}) {
			t.Errorf("got transactions of %v", got)
		}
	})
}

// A commit that hangs costs its own calls their patience, and nobody else's.
func TestACommitThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wait(0))
		hang := make(chan struct{}, 1)
		hang <- struct{}{}
		b.db.begin = func(ctx context.Context) error {
			select {
			case <-hang:
				return blocked(ctx)
			default:
				return nil
			}
		}
		first := b.askAll(1)
		synctest.Wait()
		start := time.Now()
		b.askAll(10).Wait()
		if waited := time.Since(start); waited != slowCommit {
			t.Errorf("they waited %v, want %v", waited, slowCommit)
		}
		if got := b.db.sizes(); !slices.Equal(got, []int{10}) {
			t.Errorf("got transactions of %v, want one of 10", got)
		}
		first.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := b.Stats(), (Stats{Server: Counts{Captured: 10, Late: 1}}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// A large event goes with those before it, and none after it.
func TestAGroupIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	line := make([]*item, 5)
	for i := range line {
		line[i] = &item{call: &event.Interaction{AdditionalInfo: make([]byte, 600<<10)}}
	}
	var sizes []int
	for len(line) > 0 {
		var group []*item
		group, line = cut(line, mostInGroup)
		sizes = append(sizes, len(group))
	}
	if want := []int{2, 2, 1}; !slices.Equal(sizes, want) {
		t.Errorf("got %v, want %v", sizes, want)
	}
}

// What the database says of one event is that event's business: the others are
// committed before their calls go on.
func TestOneRefusedRowCostsOnlyItself(t *testing.T) {
	t.Parallel()
	const many = 33
	for name, c := range map[string]struct {
		err  error
		want Counts // at last
	}{
		"bad data":           {&pgconn.PgError{Code: "22P05"}, Counts{Captured: many, Lost: 1}},
		"a CHECK":            {&pgconn.PgError{Code: "23514"}, Counts{Captured: many, Lost: 1}},
		"not known to us":    {&pgconn.PgError{Code: "XX000"}, Counts{Captured: many, Lost: 1}},
		"refused by content": {&outbox.InvalidError{Field: "payload"}, Counts{Captured: many, Lost: 1}},
		"there already":      {&pgconn.PgError{Code: uniqueViolation}, Counts{Captured: many + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.RetryFor = time.Minute })
				b.db.refuse = func(row fakeRow) error {
					if row.Method == "DELETE" {
						return c.err
					}
					return nil
				}
				release := b.db.hold()
				calls := b.askAll(1 + many/2)
				calls.Go(func() { b.call("DELETE") })
				for range many - 1 - many/2 {
					calls.Go(func() { b.ask() })
				}
				synctest.Wait()
				start := time.Now()
				release()
				calls.Wait()
				if waited := time.Since(start); waited != 0 {
					t.Errorf("they were held %v", waited)
				}
				if got := b.Stats().Server; got.Captured != c.want.Captured {
					t.Errorf("got %+v, want %d captured at once", got, c.want.Captured)
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if got := b.Stats(); got != (Stats{Server: c.want}) {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				if got := len(b.db.all()); got != many {
					t.Errorf("got %d rows, want %d", got, many)
				}
			})
		})
	}
}

// Whatever one event does to its group, in the background it is found at last.
func TestOneEventThatBreaksTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.RetryFor = 10 * time.Minute })
		b.db.refuse = func(row fakeRow) error {
			if row.Method == "DELETE" || !b.db.up.Load() {
				return errAway
			}
			return nil
		}
		for i := range 500 {
			b.call([]string{"GET", "DELETE"}[count(i == 100)])
		}
		b.db.up.Store(true)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got, want := b.Stats(), (Stats{Server: Counts{Late: 499}, Waiting: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := len(b.db.sizes()); got > 100 {
			t.Errorf("got %d transactions for 499 events that waited", got)
		}
	})
}

// A group that finds no database is so many calls, each with an end of its own.
func TestTheDatabaseIsAwayForAGroup(t *testing.T) {
	t.Parallel()
	const calls = 20
	away := map[string]func(*fakeDB, func(context.Context) error){
		"no connection":                   func(db *fakeDB, f func(context.Context) error) { db.begin = f },
		"the commit never arrives":        func(db *fakeDB, f func(context.Context) error) { db.commit = f },
		"the commit happened, unheard of": func(db *fakeDB, f func(context.Context) error) { db.after = f },
	}
	for name, breaks := range away {
		for how, fault := range map[string]func(context.Context) error{
			"hangs": blocked, "fails": func(context.Context) error { return errAway }, "panics": func(context.Context) error { panic("boom") },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, wait(0), func(c *Config) { c.QueueSize = 15 })
					back := time.Now().Add(20 * time.Second)
					breaks(b.db, func(ctx context.Context) error {
						if time.Now().Before(back) {
							return fault(ctx)
						}
						return nil
					})
					start := time.Now()
					b.askAll(calls).Wait()
					if held := time.Since(start); held > defaultWait {
						t.Errorf("an answer was held %v", held)
					}
					time.Sleep(time.Minute)
					synctest.Wait()
					got := b.Stats().Server // one that was stored unheard may make room in the queue
					if got.Captured > 0 || got.Late < 15 || got.Late+got.Lost != calls {
						t.Errorf("got %+v, want at least 15 of %d late, and the rest lost", got, calls)
					}
					rows := map[string]bool{}
					for _, row := range b.db.all() {
						rows[row.id] = true
					}
					if len(rows) != len(b.db.all()) || len(rows) < 15 {
						t.Errorf("got %d events in %d rows, want 15 or more, once each", len(rows), len(b.db.all()))
					}
					if lines := len(b.log.lines("capture.lost")); lines != int(got.Lost) {
						t.Errorf("got %d lines of capture.lost, and %+v", lines, got)
					}
				})
			})
		}
	}
}

func TestCloseWaitsForThoseInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		release := b.db.hold()
		calls := b.askAll(10)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- b.Close(context.Background()) }()
		synctest.Wait()
		release()
		calls.Wait()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := b.Stats(); got != (Stats{Server: Counts{Captured: 10}}) {
			t.Errorf("got %+v, want 10 captured", got)
		}
	})
}

// Side by side and with any faults: each call is counted once, and each that
// counts as stored is one row.
func TestEachCallOfAGroupEndsInOnePlace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		faults := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 40).Draw(rt, "faults")
		bursts := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 5).Draw(rt, "bursts")
		bad := rapid.SliceOfN(rapid.Bool(), 1, 10).Draw(rt, "bad")
		queue := rapid.IntRange(1, 60).Draw(rt, "queue")
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, wait(0), func(c *Config) { c.QueueSize, c.RetryFor = queue, 30*time.Second })
			n := make(chan int, len(faults))
			for _, f := range faults {
				n <- f
			}
			fault := func(hangs, fails int) func(context.Context) error {
				return func(ctx context.Context) error {
					select {
					case f := <-n:
						switch f {
						case hangs:
							return blocked(ctx)
						case fails:
							return errAway
						}
					default:
					}
					return nil
				}
			}
			b.db.begin, b.db.after = fault(1, 2), fault(3, 4)
			b.db.refuse = func(row fakeRow) error {
				if row.Method == "DELETE" {
					return &pgconn.PgError{Code: "22P05"}
				}
				return nil
			}
			var calls, poor int64
			var answered sync.WaitGroup
			for _, burst := range bursts {
				for range burst {
					isBad := bad[int(calls)%len(bad)]
					calls, poor = calls+1, poor+count(isBad)
					answered.Go(func() { b.call([]string{"GET", "DELETE"}[count(isBad)]) })
				}
				time.Sleep(10 * time.Millisecond)
			}
			answered.Wait()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			got, rows := b.Stats(), int64(len(b.db.all()))
			kept := got.Server.Captured + got.Server.Late
			if kept+got.Server.Lost != calls || got.Waiting != 0 {
				rt.Fatalf("got %+v, want %d in all", got, calls)
			}
			if kept > calls-poor || rows < kept || rows > calls-poor {
				rt.Fatalf("got %d rows and %+v, of %d good events", rows, got, calls-poor)
			}
			if len(b.log.lines("capture.lost")) != int(got.Server.Lost) {
				rt.Fatalf("got %d lines, and %+v", len(b.log.lines("capture.lost")), got)
			}
		})
	})
}
