package chaos

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/cdc"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// seenWithin is how soon a lost slot must be noticed.
const seenWithin = time.Minute

// The primary dies and a standby is promoted, which has no slot. That is noticed,
// another slot is made there, and what the old one had yet to read is swept.
func TestScenario7PromotedWithoutSlot(t *testing.T) {
	t.Parallel()
	r := newPair(t)
	relay, _ := r.relay(), r.serve()
	relay.Line("relay.connected")
	r.wave(40)
	r.quiescent()
	relay.Kill()
	r.wave(40) // the promoted server has these, and no slot ever carries them
	r.fail()
	promoted := time.Now()
	next := r.relay()
	next.Line(`"event":"slot.recreated"`)
	if found := r.foundAt(); found.After(promoted.Add(seenWithin)) {
		t.Errorf("the loss was noticed at %v, the promotion was over before %v", found, promoted)
	}
	r.wave(40)
	r.quiescent()
	r.oracle()
	entry := r.recovered(1)[0]
	if entry.Cause != "missing" || !entry.Promoted || entry.GapRows < 40 || entry.Ghosts != 0 {
		t.Errorf("got %+v, want a slot that is missing after a promotion, and no ghosts", entry)
	}
}

// A message may be faster than replication: the promoted server has a row for an
// event that it does not know. It is named, not hidden and not dropped.
func TestScenario7GhostAfterPromotion(t *testing.T) {
	t.Parallel()
	r := newPair(t)
	relay, worker := r.relay(), r.serve()
	r.wave(20)
	r.quiescent()
	worker.Signal(terminate) // its message waits in the stream, and its row is not there yet
	worker.ExitedWith(0)
	before := r.inStreams()
	r.standby.Kill() // stopped, it would still have what is in its socket
	ghost := r.unreplicated()
	r.until("its message is in the stream", time.Minute, func() bool { return r.inStreams() > before })
	relay.Kill()
	r.db.Kill()
	r.standby.Start()
	r.promoted()
	r.relay()
	worker = r.serve()
	if line := worker.Line(`"event":"slot.ghosts_found"`); !strings.Contains(line, ghost) {
		t.Errorf("got %s, want it to name %s", line, ghost)
	}
	entry := r.recovered(1)[0]
	if entry.Ghosts != 1 || !entry.Promoted {
		t.Errorf("got %+v, want one ghost", entry)
	}
	report, err := verify.Run(t.Context(), r.pool, verify.Options{Split: app.Splitters()})
	if err != nil {
		t.Fatal(err)
	}
	if report.Exit != verify.Broken || !slices.ContainsFunc(report.Broken, func(f verify.Finding) bool { return f.Check == "ghost" && strings.Contains(f.Where, ghost) }) {
		t.Errorf("verify: exit %d, %v, want the ghost", report.Exit, report.Broken)
	}
}

// newPair is a rig whose database has a standby that every commit waits for.
func newPair(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, sweepsSoon)
	r.standby = r.db.Standby()
	r.commitsWait()
	return r
}

// commitsWait makes every commit wait for the standby from here on.
func (r *rig) commitsWait() {
	r.t.Helper()
	r.db.Exec(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
	r.db.Exec(`SELECT pg_reload_conf()`)
	r.until("commits wait for the standby", time.Minute, func() bool {
		return r.count(`SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'`) == 1
	})
	r.pool, r.producer = r.pools(testenv.Superuser), r.pools("runtime_producer")
}

// pools opens a pool that finds whichever server is the primary.
func (r *rig) pools(role string) *pgxpool.Pool {
	r.t.Helper()
	pool, err := pgxpool.New(noCancel(r.t), r.address(role))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(pool.Close)
	return pool
}

// fail kills the primary and promotes the standby.
func (r *rig) fail() {
	r.t.Helper()
	r.db.Kill()
	r.promoted()
}

func (r *rig) promoted() {
	r.t.Helper()
	r.standby.Promote()
	for _, pool := range []*pgxpool.Pool{r.pool, r.producer} {
		pool.Reset() // its connections lead to the dead
	}
	if n := r.count(`SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1`, migrations.Slot); n != 0 && r.major() < 17 {
		r.t.Errorf("the slot is there after the promotion: this proves nothing")
	}
}

func (r *rig) major() int64 {
	return r.count(`SELECT current_setting('server_version_num')::int / 10000`)
}

// unreplicated appends one call whose commit waits for nobody, and gives its id.
func (r *rig) unreplicated() string {
	r.t.Helper()
	e, s := r.call(banks()[1])
	err := r.appendTxAs(r.t.Context(), s, e.Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.id
}

// appendTxAs appends an event that the oracle must not expect: its server dies
// before anybody else has it.
func (r *rig) appendTxAs(ctx context.Context, s *sent, payload any) error {
	return pgx.BeginFunc(ctx, r.producer, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = local`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `SELECT event_runtime.append_event($1, 'ofb', 'interaction.completed', $2::jsonb, event_id => $3::uuid, source => 'chaos')`, s.tenant, payload, s.id)
		return err
	})
}

// foundAt is when the loss was written down.
func (r *rig) foundAt() (at time.Time) {
	r.t.Helper()
	r.scan(`SELECT found_at FROM event_runtime.cdc_losses ORDER BY loss_id LIMIT 1`, nil, &at)
	return at
}

// From Postgres 17 on a slot is kept in step on the standby: after a promotion the
// relay goes on from it, and nothing has to be swept.
func TestScenario6PromotedWithSyncedSlot(t *testing.T) {
	t.Parallel()
	testenv.NeedsMajor(t, 17)
	r := newRig(t, sweepsSoon, onCluster(testenv.Setting("synchronized_standby_slots", "standby")))
	r.db.Exec(`SELECT pg_create_physical_replication_slot('standby', true)`)
	r.standby = r.db.Standby(testenv.Setting("sync_replication_slots", "on"), testenv.Setting("hot_standby_feedback", "on"),
		testenv.Setting("primary_slot_name", "standby"), testenv.Setting("synchronized_standby_slots", ""))
	r.commitsWait()
	relay := r.relay()
	r.serve("STANDBY_DATABASE_URLS=" + r.standby.URL("runtime_worker"))
	r.wave(40)
	r.quiescent()
	standby := r.standby.Pool("runtime_worker")
	r.until("the slot would survive", time.Minute, func() bool {
		r.calls(1, control()) // a slot that nobody advances stays temporary
		ready, known, err := cdc.StandbyReady(t.Context(), standby, migrations.Slot)
		return err == nil && known && ready
	})
	relay.Kill()
	r.wave(40)
	r.fail()
	next := r.relay()
	next.Line("relay.connected")
	r.wave(40)
	r.quiescent()
	r.oracle()
	if strings.Contains(next.Log(), "slot.recreated") {
		t.Error("the slot was made anew, want the synced one")
	}
	if entry := r.recovered(1)[0]; entry.Cause != "survived" || !entry.Promoted || entry.Ghosts != 0 {
		t.Errorf("got %+v, want a slot that survived", entry)
	}
}
