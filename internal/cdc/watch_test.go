package cdc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// rig is a cluster with a slot and the leader's watch over it.
type rig struct {
	*Watch
	t   *testing.T
	pg  *testenv.PostgresServer
	log *bytes.Buffer
}

func newRig(t *testing.T, options ...testenv.Option) *rig {
	t.Helper()
	r := &rig{t: t, pg: testenv.Cluster(t, options...), log: &bytes.Buffer{}}
	r.makeSlot()
	var err error
	r.Watch, err = NewWatch(Deps{Pool: r.pg.Pool("runtime_worker"), Slot: migrations.Slot, Now: time.Now, Log: zerolog.New(r.log)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) makeSlot() {
	r.t.Helper()
	if _, err := migrations.EnsureSlot(r.t.Context(), r.pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) sees() *rig {
	r.t.Helper()
	if err := r.look(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func (r *rig) count(sql string) (n int) {
	r.t.Helper()
	if err := r.pg.Conn(testenv.Superuser).QueryRow(r.t.Context(), sql).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (r *rig) want(what string, got, want int) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: got %d, want %d\n%s", what, got, want, r.log)
	}
}

func (r *rig) drop() {
	r.t.Helper()
	r.pg.Exec(`SELECT pg_drop_replication_slot($1)`, migrations.Slot)
}

const (
	losses  = `SELECT count(*) FROM event_runtime.cdc_losses`
	waiting = `SELECT count(*) FROM event_runtime.cdc_losses WHERE recreated_at IS NULL`
	open    = `SELECT count(*) FROM event_runtime.cdc_losses WHERE ended_at IS NULL`
	entries = `SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'cdc_recovered'`
)

// A slot that is gone is one loss, however often it is looked at and by whomever;
// it ends in one entry, when the sweep is through and not before.
func TestALossFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pg.Exec(`INSERT INTO event_runtime.sweep_marks (consumer, stream, swept_until, whole_at) VALUES ('pcm-ofb', 'EVENTS', now() - interval '1 hour', now())`)
	r.pg.Exec(`INSERT INTO event_runtime.books (day, tenant_id, consumer, swept) VALUES (current_date, 'platform', 'pcm-ofb', 100)`)
	r.sees().want("losses of a slot that is there", r.count(losses), 0)
	r.drop()
	r.sees().sees()
	if _, err := Open(t.Context(), r.pg.Pool("runtime_relay"), r.Slot, Missing, false, ByRelay); err != nil {
		t.Fatal(err)
	}
	r.want("losses", r.count(losses), 1)
	r.want("lines", strings.Count(r.log.String(), `"event":"slot.lost"`), 1)
	r.pg.Exec(`UPDATE event_runtime.books SET swept = 107`)
	r.makeSlot()
	r.sees().want("losses without a slot", r.count(waiting), 0)
	r.sees().want("entries before the sweep", r.count(entries), 0)
	r.want("whole days asked for", r.count(`SELECT count(*) FROM event_runtime.sweep_marks WHERE whole_at IS NULL`), 1)
	r.pg.Exec(`UPDATE event_runtime.sweep_marks SET swept_until = clock_timestamp(), whole_at = clock_timestamp()`)
	r.pg.Exec(`INSERT INTO event_runtime.sweep_owed (consumer, stream, tenant_id, recorded_on, event_id, recorded_at, found_at) VALUES ('pcm-ofb', 'EVENTS', 'platform', current_date, gen_random_uuid(), now() - interval '1 minute', now())`)
	r.sees().want("entries while an event is missing", r.count(entries), 0)
	r.pg.Exec(`DELETE FROM event_runtime.sweep_owed`)
	r.sees().sees().want("entries", r.count(entries), 1)
	r.want("losses that are not over", r.count(open), 0)
	var text []byte
	if err := r.pg.Conn(testenv.Superuser).QueryRow(t.Context(), `SELECT payload_bytes FROM event_runtime.audit_ledger WHERE chain_id = 'platform'`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var got recovered
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Cause != Missing || got.Promoted || got.GapRows != 7 || got.Slot != migrations.Slot || got.Window.Until.Sub(got.Window.From) < time.Hour {
		t.Errorf("got %s, want 7 rows of the time since the mark", text)
	}
	r.makeAnother(t)
}

// makeAnother: after the end of one loss, the next is a loss of its own.
func (r *rig) makeAnother(t *testing.T) {
	t.Helper()
	r.sees()
	r.drop()
	r.sees().want("losses", r.count(losses), 2)
}

// A slot that somebody has made anew unseen begins where our relay has never been.
func TestASlotMadeAnewUnseen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	relay := r.pg.Pool("runtime_relay")
	known, now, err := Ask(t.Context(), relay, r.Slot)
	if err != nil || known != nil || Judge(known, now) != Alive {
		t.Fatalf("got %+v %+v, %v", known, now, err)
	}
	if _, err := Promise(t.Context(), relay, r.Slot, now, now.Confirmed); err != nil {
		t.Fatal(err)
	}
	r.sees().want("losses", r.count(losses), 0)
	r.pg.Exec(`SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1048576)) FROM generate_series(1, 20)`)
	r.drop()
	r.makeSlot()
	r.sees().want("losses", r.count(losses+` WHERE cause = 'replaced' AND recreated_at IS NOT NULL`), 1)
	r.sees().want("losses of the new slot", r.count(losses), 1)
}

// A promise of less than was said before takes nothing back: the relay that said
// it may be at work.
func TestAPromiseIsNotTakenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, now, err := Ask(t.Context(), r.Pool, r.Slot)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint64{now.Confirmed + 1000, now.Confirmed} {
		if _, err := Promise(t.Context(), r.pg.Pool("runtime_relay"), r.Slot, now, at); err != nil {
			t.Fatal(err)
		}
	}
	known, err := Recall(t.Context(), r.Pool, r.Slot)
	if err != nil || known.Reach != now.Confirmed+1000+stride {
		t.Errorf("got %+v, %v, want the further one", known, err)
	}
}

// Another server, or another history of it, is a loss also while the slot is there.
func TestAnotherHistory(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{"promoted": `timeline = timeline + 1`, "restored elsewhere": `system_id = '1'`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t).sees()
			r.pg.Exec(`UPDATE event_runtime.cdc_slots SET ` + change)
			r.sees().sees().want("losses", r.count(losses+` WHERE cause = 'replaced' AND promoted`), 1)
		})
	}
}

// Without a limit one slot can fill the disk: that is said once, and by readiness
// as long as it is so.
func TestNoLimitIsNotReady(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.Setting("max_slot_wal_keep_size", "-1"))
	r.sees().sees()
	if why := r.Ready(); !strings.Contains(why, "ALTER SYSTEM SET max_slot_wal_keep_size") {
		t.Errorf("got %q, want what to do", why)
	}
	r.want("lines", strings.Count(r.log.String(), `"event":"slot.unbounded"`), 1)
	r.pg.Exec(`ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'`)
	r.pg.Exec(`SELECT pg_reload_conf()`)
	late := time.Now().Add(time.Minute)
	for r.sees().Ready() != "" && time.Now().Before(late) {
	}
	if why := r.Ready(); why != "" {
		t.Errorf("got %q with a limit", why)
	}
}

// The oldest transaction is measured by who may not ask for it.
func TestOldestTransaction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sample := `INSERT INTO event_runtime.sweep_samples SELECT now() - interval '9 minutes', pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot()), pg_snapshot_xmin(pg_current_snapshot()), true`
	r.pg.Exec(sample)
	tx, err := r.pg.Conn(testenv.Superuser).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	// One that nobody has ended after cannot be told from none; a look itself ends one.
	if got := r.sees().sees().metrics.sight.Load().oldest; got < 9*time.Minute || got > time.Hour {
		t.Errorf("got %v, want 9 minutes", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.quiet(t, r.Pool)
}

func (r *rig) quiet(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	late := time.Now().Add(time.Minute)
	for r.sees(); r.metrics.sight.Load().oldest != 0 && time.Now().Before(late); r.sees() {
		_ = pool.Ping(t.Context()) // somebody else's autovacuum may be at work
	}
	if got := r.metrics.sight.Load().oldest; got != 0 {
		t.Errorf("got %v without a transaction", got)
	}
}

// A database that is not ours keeps nothing.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	pg := testenv.Cluster(t, testenv.Raw())
	conn, err := pgx.Connect(t.Context(), pg.URL(testenv.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, _, err := Ask(t.Context(), conn, "any"); !errors.Is(err, ErrNoMemory) {
		t.Errorf("got %v, want it said", err)
	}
}

// What nobody sees any more is not how it is: a figure that stays would keep an
// alert quiet.
func TestWhatIsNotSeenIsNotExported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.waitSight("the slot is seen", true)
	r.pg.Exec(`REVOKE SELECT ON event_runtime.cdc_slots FROM runtime_worker`)
	r.waitSight("it cannot be looked at", false)
	r.pg.Exec(`GRANT SELECT ON event_runtime.cdc_slots TO runtime_worker`)
	r.waitSight("the slot is seen again", true)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.waitSight("nobody looks", false)
}

func (r *rig) waitSight(what string, want bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); (r.metrics.sight.Load() != nil) != want; {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("never: %s", what)
		}
	}
}
