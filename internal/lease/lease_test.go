package lease

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// soon is how long a lease lasts here: long enough to be renewed on a machine
// that is busy, short enough to wait for.
const soon = 3 * time.Second

func job(owner string) Job { return Job{Name: "leader", Owner: owner, TTL: soon} }

// holder is one replica that wants the job.
type holder struct {
	t      *testing.T
	got    chan int64         // a token, each time it gets the lease
	lost   chan struct{}      // each time it loses it
	stop   context.CancelFunc // ends it, and waits
	inside *atomic.Int32      // how many hold it at this moment
}

func compete(t *testing.T, pool *pgxpool.Pool, owner string, inside *atomic.Int32) *holder {
	t.Helper()
	h := &holder{t: t, got: make(chan int64, 16), lost: make(chan struct{}, 16), inside: inside}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, pool, job(owner), h.do)
		close(done)
	}()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", owner, err)
		}
	}
	t.Cleanup(h.stop)
	return h
}

func (h *holder) do(ctx context.Context, token int64) error {
	if n := h.inside.Add(1); n != 1 {
		h.t.Errorf("%d hold the lease at once", n)
	}
	defer h.inside.Add(-1)
	h.got <- token
	<-ctx.Done()
	h.lost <- struct{}{}
	return ctx.Err()
}

func (h *holder) token() int64 {
	h.t.Helper()
	select {
	case token := <-h.got:
		return token
	case <-time.After(time.Minute):
		h.t.Fatal("it does not get the lease")
		return 0
	}
}

func (h *holder) isLost() {
	h.t.Helper()
	select {
	case <-h.lost:
	case <-time.After(time.Minute):
		h.t.Fatal("it does not notice that the lease is lost")
	}
}

func TestOneAtATimeAndTokensGrow(t *testing.T) {
	t.Parallel()
	pool, inside := testenv.Postgres(t).Pool("runtime_worker"), &atomic.Int32{}
	var last int64
	current := compete(t, pool, "one", inside)
	for _, owner := range []string{"two", "three", "four"} {
		token := current.token()
		if token <= last {
			t.Errorf("got token %d after %d", token, last)
		}
		last = token
		next := compete(t, pool, owner, inside)
		if _, err := acquire(t.Context(), pool, job("somebody")); !errors.Is(err, errTaken) {
			t.Errorf("taken while held: %v", err)
		}
		current.stop() // gives it back at once: nobody waits for its end
		current = next
	}
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	pool := db.Pool("runtime_worker")
	first, err := acquire(t.Context(), pool, job("stopped"))
	if err != nil || first != 1 {
		t.Fatalf("got token %d, %v", first, err)
	}
	if _, err := acquire(t.Context(), pool, job("stopped")); !errors.Is(err, errTaken) {
		t.Errorf("its own name does not help a process that was started anew: got %v, want it to wait", err)
	}
	db.Exec(`UPDATE event_runtime.leases SET expires_at = now() - interval '1 microsecond'`)
	second, err := acquire(t.Context(), pool, job("next"))
	if err != nil || second != 2 {
		t.Fatalf("got token %d, %v, want the next one", second, err)
	}
	args := job("stopped").args()
	args["token"] = first
	for name, sql := range map[string]string{"renew": sqlRenew, "release": sqlRelease} {
		tag, err := pool.Exec(t.Context(), sql, args)
		if err != nil || tag.RowsAffected() != 0 {
			t.Errorf("%s by who was stopped: %d rows, %v, want none", name, tag.RowsAffected(), err)
		}
	}
	if other, err := acquire(t.Context(), pool, Job{Name: "another job", Owner: "x"}); err != nil || other != 1 {
		t.Errorf("another job: got token %d, %v", other, err)
	}
}

// Who holds the lease in a transaction keeps it until its end; who lost it writes
// nothing.
func TestHoldKeepsOthersOut(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	pool := db.Pool("runtime_worker")
	token, err := acquire(t.Context(), pool, job("first"))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if err := job("first").Hold(t.Context(), tx, token); err != nil {
		t.Fatal(err)
	}
	_, err = db.Pool(testenv.Superuser).Exec(t.Context(), `SET lock_timeout = '50ms'; UPDATE event_runtime.leases SET expires_at = now()`)
	if state := new(pgconn.PgError); !errors.As(err, &state) || state.Code != "55P03" {
		t.Errorf("got %v, want nobody to get at the lease while it is held", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Exec(`UPDATE event_runtime.leases SET expires_at = now() - interval '1 microsecond'`)
	if _, err := acquire(t.Context(), pool, job("second")); err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return job("first").Hold(t.Context(), tx, token) })
	if !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want it to be lost", err)
	}
}

func TestAnExpiredLeaseIsNotRenewed(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	pool := db.Pool("runtime_worker")
	token, err := acquire(t.Context(), pool, job("slow"))
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(`UPDATE event_runtime.leases SET expires_at = now()`)
	args := job("slow").args()
	args["token"] = token
	if err := pool.QueryRow(t.Context(), sqlRenew, args).Scan(&token); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("got %v, want it refused: somebody else may have begun", err)
	}
}

func TestWhoIsReplacedStops(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	h := compete(t, db.Pool("runtime_worker"), "old", &atomic.Int32{})
	before := h.token()
	db.Exec(`UPDATE event_runtime.leases SET owner = 'new', token = token + 1`)
	h.isLost()
	db.Exec(`UPDATE event_runtime.leases SET expires_at = now() - interval '1 second'`)
	if after := h.token(); after != before+2 {
		t.Errorf("got token %d after %d and another's", after, before)
	}
}

// A holder that cannot reach the database stops before anybody else may begin,
// and takes part again afterwards.
func TestADatabaseThatIsAwayEndsTheLease(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	u, err := url.Parse(db.URL("runtime_worker"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := testenv.Proxy(t, u.Host)
	u.Host = proxy.Addr()
	pool, err := pgxpool.New(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	h := compete(t, pool, "cut off", &atomic.Int32{})
	before := h.token()
	proxy.Pause()
	h.isLost()
	proxy.Resume()
	if after := h.token(); after <= before {
		t.Errorf("got token %d after %d", after, before)
	}
	h.stop() // before the pool is closed
}

func TestWhatFailsIsTold(t *testing.T) {
	t.Parallel()
	pool, failed := testenv.Postgres(t).Pool("runtime_worker"), errors.New("failed")
	if err := Run(t.Context(), pool, job("one"), func(context.Context, int64) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want what the work said", err)
	}
	if token, err := acquire(t.Context(), pool, job("two")); err != nil || token != 2 {
		t.Errorf("got token %d, %v, want the lease to be free at once", token, err)
	}
}

// Keep gives up exactly when the lease cannot be counted on any more.
func TestKeep(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for name, tc := range map[string]struct {
		answers []error // of the renewals, one a second of a lease of three
		after   time.Duration
	}{
		"refused":            {[]error{pgx.ErrNoRows}, time.Second},
		"refused later":      {[]error{nil, nil, pgx.ErrNoRows}, 3 * time.Second},
		"away":               {[]error{away, away}, 2 * time.Second},
		"away, then refused": {[]error{away, pgx.ErrNoRows}, 2 * time.Second},
		"away for a moment":  {[]error{away, nil, nil, away, nil, away, away}, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start, n := time.Now(), 0
				Keep(ctx, cancel, 3*time.Second, func(context.Context) error {
					n++
					return tc.answers[n-1]
				})
				if ctx.Err() == nil || time.Since(start) != tc.after || n != len(tc.answers) {
					t.Errorf("got %v after %v and %d renewals, want the end after %v", ctx.Err(), time.Since(start), n, tc.after)
				}
			})
		})
	}
}

// A renewal that hangs is a renewal that failed.
func TestKeepDoesNotWaitForARenewalThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		start := time.Now()
		Keep(ctx, cancel, 3*time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it gave up after %v, want 2s: another may hold a lease of 3s soon after", took)
		}
	})
}
