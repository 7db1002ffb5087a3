package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
)

// lock keeps every transaction of a consumer waiting, until the test lets go.
func (r *rig) lock() (release func()) {
	r.t.Helper()
	held := r.db.Conn(testenv.Superuser)
	if _, err := held.Exec(r.t.Context(), `BEGIN; LOCK TABLE event_runtime.consumer_idempotency IN ACCESS EXCLUSIVE MODE`); err != nil {
		r.t.Fatal(err)
	}
	return func() { _ = held.Close(context.WithoutCancel(r.t.Context())) }
}

// waiting counts transactions that wait for a lock.
func waiting(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run starts one consumer of INTERACTIONS and gives how it ended.
func (r *rig) run() (c *Consumer, cancel context.CancelFunc, ended <-chan error) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	c = r.consumer(transport.Interactions, r.js)
	done := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		done <- c.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-gone })
	return c, cancel, done
}

func drafts(n int) []*draft {
	all := make([]*draft, n)
	for i := range all {
		all[i] = newDraft()
	}
	return all
}

// A consumer that is told to go finishes the hand it is at, where it may, and
// gives back at once what it has not begun. Nothing is lost, and nothing waits
// for AckWait to pass.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		drainFor time.Duration
		finishes bool
	}{
		"the hand is finished": {time.Minute, true},
		"the hand is cut off":  {50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cfg.BatchSize, r.cfg.BatchWait, r.cfg.DrainFor = 10, time.Second, tc.drainFor
			all := drafts(45)
			r.append(all...)
			r.publish(all...)
			watch, release := r.db.Conn(testenv.Superuser), r.lock()
			_, leave, ended := r.run()
			eventually(t, "a hand is at the database", func() bool { return waiting(t, watch) > 0 })
			eventually(t, "more is pulled", func() bool { return r.durable(transport.Interactions).NumAckPending > 10 })
			leave()
			if tc.finishes {
				release()
			}
			if err := <-ended; err != nil {
				t.Errorf("got %v, want an end in order", err)
			}
			release()
			kept := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`)
			if (kept >= 10) != tc.finishes || !tc.finishes && kept > 0 {
				t.Errorf("got %d rows, want at least the hand if it was finished: %v", kept, tc.finishes)
			}
			if got := r.logs.named("consumer.database_down"); got != 0 {
				t.Errorf("got %d lines about the database, which was well", got)
			}
			stop := r.start()
			r.settled() // long before AckWait
			stop()
			if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'accepted'`); got != 45 {
				t.Errorf("got %d rows, want 45", got)
			}
			if got := r.count(`SELECT coalesce(sum(duplicates), 0) FROM event_runtime.books`); got != 0 {
				t.Errorf("got %d duplicates, want none: what was committed was acknowledged", got)
			}
			r.whole()
		})
	}
}

// A consumer that is told to go while the database takes no rows gives back what
// it kept to find out.
func TestDrainWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.db.Exec(diskFull)
	all := drafts(20)
	r.append(all...)
	r.publish(all...)
	_, leave, ended := r.run()
	eventually(t, "it is looked at twice", func() bool { return r.logs.named("consumer.database_down") >= 2 })
	leave()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want an end in order", err)
	}
	r.db.Exec(diskFree)
	stop := r.start()
	r.settled()
	stop()
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'accepted'`); got != 20 {
		t.Errorf("got %d rows, want 20", got)
	}
	r.whole()
}

// One message that the database never takes, for a reason that nobody thought
// of, does not keep the others back, also where it comes first and alone.
func TestOneMessageThatTheDatabaseNeverTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.NakWithin = 100 * time.Millisecond
	bad, others := newDraft(), drafts(10)
	r.append(append(others, bad)...)
	r.db.Exec(`CREATE FUNCTION event_runtime.odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF new.event_id = '` + bad.id.String() + `' THEN RAISE EXCEPTION 'odd' USING errcode = 'XX001'; END IF; RETURN new; END $$;
		CREATE TRIGGER odd BEFORE INSERT ON event_runtime.consumer_idempotency FOR EACH ROW EXECUTE FUNCTION event_runtime.odd()`)
	r.publish(bad)
	stop := r.start()
	eventually(t, "it is refused", func() bool { return r.logs.named("consumer.database_down") > 0 })
	r.publish(others...)
	eventually(t, "all others have their rows", func() bool { return r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`) == 10 })
	r.db.Exec(`DROP TRIGGER odd ON event_runtime.consumer_idempotency`)
	r.settled()
	stop()
	if got := r.place(acme, bad.id); got != "accepted" {
		t.Errorf("got %q, want it accepted once the database takes it", got)
	}
	r.whole()
}

// The server goes and comes back, and so does the way to it: the consumer pulls
// on by itself.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.start()
	for range 2 {
		all := drafts(20)
		r.append(all...)
		r.publish(all...)
		r.settled()
		r.nats.Restart()
	}
	last := drafts(5)
	r.append(last...)
	r.publish(last...)
	r.settled()
	stop()
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'accepted'`); got != 45 {
		t.Errorf("got %d rows, want 45", got)
	}
	r.whole()
}

// Whoever fills lanes is woken after the rows are committed, not before.
func TestWake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := newDraft()
	r.append(d)
	r.publish(d)
	found := make(chan string, 1)
	c, err := New(r.cfg, Deps{Name: transport.PCMOFB, Stream: transport.Interactions, JS: r.js, Pool: r.pool, Catalog: r.known().Catalog, Tenants: r.tenants.Snapshot,
		Reporter: r.report, Now: time.Now, Log: r.log, Wake: func() { found <- r.place(acme, d.id) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	if got := <-found; got != "accepted" {
		t.Errorf("got %q when woken, want the row", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want an end in order", err)
	}
}
