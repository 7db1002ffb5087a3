package capture

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

// ask sends one call through a middleware, in this goroutine.
func (b *bench) ask() *httptest.ResponseRecorder { return b.call("GET") }

func (b *bench) call(method string) *httptest.ResponseRecorder {
	h := b.Server(ServerOptions{Template: func(*http.Request) string { return "/x" }})(answer(200, "ok"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/x", nil))
	return w
}

func TestAwayAndBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken func(db *fakeDB, err func(context.Context) error)
		fault  func(context.Context) error
		held   time.Duration
	}{
		"no connection to be had":         {func(db *fakeDB, f func(context.Context) error) { db.begin = f }, blocked, 250 * time.Millisecond},
		"refused":                         {func(db *fakeDB, f func(context.Context) error) { db.begin = f }, func(context.Context) error { return errAway }, 0},
		"the commit hangs":                {func(db *fakeDB, f func(context.Context) error) { db.commit = f }, blocked, 250 * time.Millisecond},
		"the commit fails":                {func(db *fakeDB, f func(context.Context) error) { db.commit = f }, func(context.Context) error { return errAway }, 0},
		"the commit happened, unheard of": {func(db *fakeDB, f func(context.Context) error) { db.after = f }, func(context.Context) error { return errAway }, 0},
		"the commit happened, and hangs":  {func(db *fakeDB, f func(context.Context) error) { db.after = f }, blocked, 250 * time.Millisecond},
		"the pool panics":                 {func(db *fakeDB, f func(context.Context) error) { db.begin = f }, func(context.Context) error { panic("boom") }, 0},
		"a partition is missing":          {func(db *fakeDB, f func(context.Context) error) { db.commit = f }, func(context.Context) error { return &pgconn.PgError{Code: "23514"} }, 0},
		"serialisation failures":          {func(db *fakeDB, f func(context.Context) error) { db.commit = f }, func(context.Context) error { return &pgconn.PgError{Code: "40001"} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, wait(0)) // the default
				back := time.Now().Add(20 * time.Second)
				c.broken(b.db, func(ctx context.Context) error {
					if time.Now().Before(back) {
						return c.fault(ctx)
					}
					return nil
				})
				start := time.Now()
				if got := b.ask().Body.String(); got != "ok" {
					t.Errorf("got %q", got)
				}
				if got := time.Since(start); got != c.held {
					t.Errorf("the answer was held %v, want %v", got, c.held)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got, want := b.Stats(), (Stats{Server: Counts{Late: 1}}); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				b.one()
				for _, name := range []string{"capture.deferred", "capture.caught_up"} {
					if got := b.log.lines(name); len(got) != 1 {
						t.Errorf("got %d lines of %s: %s", len(got), name, b.log)
					}
				}
			})
		})
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	down := func(db *fakeDB) {
		db.begin = func(context.Context) error {
			if db.up.Load() {
				return nil
			}
			return errAway
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		calls  int
		act    func(b *bench)
		want   Counts
		reason string
	}{
		"too long away": {func(c *Config) { c.RetryFor = time.Minute }, 3, func(*bench) { time.Sleep(2 * time.Minute) }, Counts{Lost: 3}, "gave_up"},
		"the queue is full": {func(c *Config) { c.QueueSize = 2 }, 5, func(b *bench) {
			b.db.up.Store(true)
			time.Sleep(time.Minute)
		}, Counts{Late: 2, Lost: 3}, "queue_full"},
		"closed meanwhile": {func(*Config) {}, 3, func(b *bench) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "3 calls lost") {
				b.t.Errorf("got %v", err)
			}
		}, Counts{Lost: 3}, "closed"},
		"closed before": {func(*Config) {}, 0, func(b *bench) {
			if err := b.Close(context.Background()); err != nil {
				b.t.Error(err)
			}
			b.ask()
		}, Counts{Lost: 1}, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, c.change)
				down(b.db)
				for range c.calls {
					b.ask()
					time.Sleep(time.Millisecond)
				}
				synctest.Wait()
				c.act(b)
				synctest.Wait()
				if got := b.Stats(); got != (Stats{Server: c.want}) {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				lost := b.log.lines("capture.lost")
				if len(lost) != int(c.want.Lost) {
					t.Fatalf("got %d lines, want %d: %s", len(lost), c.want.Lost, b.log)
				}
				for _, name := range []string{`"reason":"` + c.reason + `"`, `"endpoint":"/x"`, `"event_id":"`, `"interaction_id":"`, `"level":"error"`} {
					if !strings.Contains(lost[0], name) {
						t.Errorf("%s is not in %s", name, lost[0])
					}
				}
			})
		})
	}
}

func TestCloseWaitsForTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		back := time.Now().Add(time.Minute)
		b.db.begin = func(context.Context) error {
			if time.Now().Before(back) {
				return errAway
			}
			return nil
		}
		for range 10 {
			b.ask()
		}
		if got := b.Stats().Waiting; got != 10 {
			t.Errorf("got %d waiting, want 10", got)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got := b.Stats(); got != (Stats{Server: Counts{Late: 10}}) {
			t.Errorf("got %+v, want 10 late", got)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	})
}

// One event that can never be stored must not stop the others.
func TestOneBadEventHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.RetryFor = time.Minute })
		var poisoned atomic.Pointer[string]
		b.store = storeFunc(func(_ context.Context, e outbox.Event) error {
			poisoned.CompareAndSwap(nil, &e.ID)
			if !b.db.up.Load() || e.ID == *poisoned.Load() {
				return &pgconn.PgError{Code: "XX000"}
			}
			return nil
		})
		for range 20 {
			b.ask()
		}
		b.db.up.Store(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := b.Stats(); got != (Stats{Server: Counts{Late: 19}, Waiting: 1}) {
			t.Errorf("got %+v, want 19 late and one waiting", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.Stats(); got != (Stats{Server: Counts{Late: 19, Lost: 1}}) {
			t.Errorf("got %+v, want 19 late and one lost", got)
		}
	})
}

// A retry never outlives the id it was made with: the same id, each time.
func TestARetryKeepsItsID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ids := make(chan string, 6)
		b.store = storeFunc(func(_ context.Context, e outbox.Event) error {
			if ids <- e.ID; len(ids) < cap(ids) {
				return errAway
			}
			return nil
		})
		b.ask()
		time.Sleep(time.Minute)
		synctest.Wait()
		for first := <-ids; len(ids) > 0; {
			if id := <-ids; id != first {
				t.Errorf("got %s, want %s", id, first)
			}
		}
	})
}

func TestRefusedIsLostAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attempts := 0
	b.store = storeFunc(func(context.Context, outbox.Event) error {
		attempts++
		return fmt.Errorf("append: %w", &outbox.InvalidError{Field: "payload.endpoint", Reason: "schema_invalid"})
	})
	if got := b.ask().Body.String(); got != "ok" {
		t.Errorf("got %q", got)
	}
	if got := b.Stats(); got != (Stats{Server: Counts{Lost: 1}}) || attempts != 1 {
		t.Errorf("got %+v after %d attempts", got, attempts)
	}
	if got := b.log.lines("capture.lost"); len(got) != 1 || !strings.Contains(got[0], `"field":"payload.endpoint"`) || !strings.Contains(got[0], `"reason":"refused"`) {
		t.Errorf("got %s", b.log)
	}
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.QueueSize = 1 << 20 })
		b.later.running = retriers // as if all were busy
		it := func() *item {
			i := b.item(context.Background(), &observation{role: event.Server}, Details{})
			i.call.AdditionalInfo = make([]byte, 8<<20)
			return i
		}
		for i := range 10 {
			if why := b.later.add(it()); (why != "") != (i >= 7) {
				t.Errorf("item %d of 8 MiB: %q", i, why)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Close(ctx)
	})
}

type storeFunc func(context.Context, outbox.Event) error

func (f storeFunc) put(ctx context.Context, group []*item) error {
	for _, it := range group {
		if err := f(ctx, it.event); err != nil {
			return err
		}
	}
	return nil
}

// Whatever the database does, each call is counted once, and each that counts as
// stored is a row.
func TestEachCallEndsInOnePlace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		faults := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 60).Draw(rt, "faults")
		calls := rapid.IntRange(0, 30).Draw(rt, "calls")
		queue := rapid.IntRange(1, 10).Draw(rt, "queue")
		retryFor := time.Duration(rapid.IntRange(1, 60).Draw(rt, "retry for")) * time.Second
		closeAfter := time.Duration(rapid.IntRange(0, 60).Draw(rt, "close after")) * time.Second
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, wait(0), func(c *Config) { c.QueueSize, c.RetryFor = queue, retryFor })
			n := make(chan int, len(faults))
			for _, f := range faults {
				n <- f
			}
			next := func() int {
				select {
				case f := <-n:
					return f
				default:
					return 0
				}
			}
			b.db.begin = func(ctx context.Context) error {
				switch next() {
				case 1:
					return errAway
				case 2:
					return blocked(ctx)
				}
				return nil
			}
			b.db.after = func(ctx context.Context) error {
				switch next() {
				case 3:
					return errors.New("the answer was lost")
				case 4:
					return blocked(ctx)
				}
				return nil
			}
			for range calls {
				b.ask()
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(closeAfter)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = b.Close(ctx)
			got, rows := b.Stats(), int64(len(b.db.all()))
			if sum := got.Server.Captured + got.Server.Late + got.Server.Lost; sum != int64(calls) || got.Waiting != 0 {
				rt.Fatalf("got %+v, want %d in all", got, calls)
			}
			if stored := got.Server.Captured + got.Server.Late; rows < stored || rows > int64(calls) {
				rt.Fatalf("got %d rows, and %+v", rows, got)
			}
			if lines := b.log.lines("capture.lost"); int64(len(lines)) != got.Server.Lost {
				rt.Fatalf("got %d lines, and %+v", len(lines), got)
			}
		})
	})
}

type groupFunc func(context.Context, []*item) error

func (f groupFunc) put(ctx context.Context, group []*item) error { return f(ctx, group) }
