package sweep

import (
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/nats-io/nats.go/jetstream"
)

// Without any relay, everything arrives all the same.
func TestTheSweeperAloneIsEnough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(acme, 10)
	r.append(globex, 5)
	r.pass(0).want("published before the grace is over", r.messages(), 0)
	r.pass(2*time.Minute).want("published", r.messages(), 30)
	r.want("gap", r.gap(), 30)
	r.consume()
	r.arrived(30)
	r.pass(3 * time.Minute)
	r.want("gap", r.gap(), 0)
	r.want("remembered", r.owed(), 0)
	r.want("published", r.messages(), 30)
	r.want("swept, in the books", r.count(`SELECT sum(swept) FROM event_runtime.books`), 30)
	r.want("swept of one tenant", r.count(`SELECT swept FROM event_runtime.books WHERE tenant_id = 'globex'`), 10)
	r.whole()
}

// A message of the sweeper and one of the relay's are the same event.
func TestOfManyOnlyTheLostAreSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.consume()
	there := r.append(acme, 8)
	r.put(there...)
	r.arrived(16)
	lost := r.append(acme, 2)
	r.put(r.append(acme, 4)...)
	r.arrived(24)
	r.pass(2 * time.Minute).arrived(28)
	r.want("published", r.messages(), 28)
	for _, id := range lost {
		r.want("rows of "+id.String(), r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE event_id = $1`, id), 1)
	}
	r.whole()
}

// put publishes events as a relay would, and no pass is made.
func (r *rig) put(ids ...event.ID) {
	r.t.Helper()
	var keys []Key
	for _, id := range ids {
		keys = append(keys, Key{acme, id.Day(), id})
	}
	stored, never, err := r.sweeper.publish(r.t.Context(), keys)
	if err != nil || len(stored) != len(ids) || len(never) != 0 {
		r.t.Fatalf("published %d of %d, %v", len(stored), len(ids), err)
	}
}

// However long a worker is stopped, what waits for it is not published again.
func TestABacklogIsNotSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pass(0)
	r.put(r.append(acme, 20)...)
	for _, ahead := range []time.Duration{2 * time.Minute, 12 * time.Minute, time.Hour, 3 * time.Hour} {
		r.pass(ahead).want("published", r.messages(), 40)
		r.want("gap", r.gap(), 0)
	}
	r.want("remembered", r.owed(), 0)
	r.want("swept", r.count(`SELECT count(*) FROM event_runtime.books`), 0)
	r.consume()
	r.arrived(40)
	r.pass(4*time.Hour).want("published", r.messages(), 40)
	r.whole()
}

// What the sweeper published waits like anything else.
func TestWhatWasSweptAndWaitsIsNotSweptAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(acme, 3)
	for _, ahead := range []time.Duration{2 * time.Minute, 13 * time.Minute, time.Hour} {
		r.pass(ahead)
	}
	r.want("times published", r.count(`SELECT max(published) FROM event_runtime.sweep_owed`), 1)
	r.consume()
	r.arrived(6)
	r.pass(2 * time.Hour)
	r.want("remembered", r.owed(), 0)
	r.whole()
}

// A message that nobody makes a row of is published again, but not at once.
func TestAgainOnlyAfterAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.appendCall(acme, time.Now())
	published := func() int { return r.count(`SELECT max(published) FROM event_runtime.sweep_owed`) }
	r.pass(2 * time.Minute)
	r.swallow()
	for _, step := range []struct {
		ahead time.Duration
		want  int
	}{{3 * time.Minute, 1}, {11*time.Minute + 30*time.Second, 1}, {13 * time.Minute, 2}, {14 * time.Minute, 2}} {
		r.pass(step.ahead).want("published after "+step.ahead.String(), published(), step.want)
		r.want("gap", r.gap(), 1)
	}
	r.want("swept, in the books", r.count(`SELECT swept FROM event_runtime.books`), 2)
}

// swallow acknowledges every message, and makes no row: what a stream that lost
// its messages looks like.
func (r *rig) swallow() {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), transport.Interactions, transport.PCMOFB)
	if err != nil {
		r.t.Fatal(err)
	}
	msg, err := c.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := msg.DoubleAck(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// Order of ids is not order of commits: the mark waits for who is still writing.
func TestATransactionThatCommitsLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tx, err := r.producer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := event.NewID(time.Now())
	if _, err := tx.Exec(t.Context(), sqlAppendCall, acme, call(), late); err != nil {
		t.Fatal(err)
	}
	r.consume()
	r.put(r.append(acme, 4)...)
	r.arrived(8)
	for _, ahead := range []time.Duration{2 * time.Minute, 3 * time.Minute, 10 * time.Minute} {
		r.pass(ahead).want("published", r.messages(), 8)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.pass(11*time.Minute).want("published", r.messages(), 9)
	r.arrived(9)
	r.whole()
}

// An id that was made long before its row is behind the mark: whole days find it.
func TestWholeDaysFindWhatIsBehindTheMark(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.setAhead(2 * time.Minute)
	whole := func() {
		t.Helper()
		if err := r.sweeper.Whole(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(2 * time.Minute)
	r.db.Exec(`UPDATE event_runtime.sweep_marks SET swept_until = now() + interval '1 minute'`)
	whole()
	r.appendCall(acme, time.Now().Add(-10*time.Minute))
	r.pass(10*time.Minute).want("published", r.messages(), 0)
	whole() // not due
	r.want("remembered", r.owed(), 0)
	r.setAhead(63 * time.Minute)
	whole()
	r.want("remembered", r.owed(), 1)
	r.pass(64*time.Minute).want("published", r.messages(), 1)
}

// What stays in the log may still come; when nobody reads the log, it will not.
func TestASlotThatNobodyReads(t *testing.T) {
	t.Parallel()
	cluster := testenv.Cluster(t)
	if _, err := migrations.EnsureSlot(t.Context(), cluster.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, cluster)
	r.append(acme, 3)
	for _, ahead := range []time.Duration{0, 90 * time.Second, 119 * time.Second} {
		r.pass(ahead).want("published", r.messages(), 0)
	}
	r.pass(3*time.Minute).want("published", r.messages(), 6)
	r.consume()
	r.arrived(6)
	r.db.Exec(`SELECT pg_drop_replication_slot('` + migrations.Slot + `')`)
	r.rewind()
	r.append(acme, 1)
	r.pass(5*time.Minute).want("published", r.messages(), 8)
	r.arrived(8)
	r.whole()
}

// What can never be published goes before a person, once, and holds up nothing.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.appendCall(acme, time.Now())
	if _, err := r.producer.Exec(t.Context(), `SELECT event_runtime.append_event('acme-bank', 'ofb', 'interaction.completed', '{}', subject => jsonb_build_object('x', repeat('y', 600000)))`); err != nil {
		t.Fatal(err)
	}
	r.appendCall(acme, time.Now())
	r.consume()
	r.pass(2 * time.Minute)
	r.arrived(2)
	r.want("in quarantine", r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE reason = 'too_large' AND consumer = 'relay'`), 1)
	r.pass(3*time.Minute).want("remembered", r.owed(), 0)
	r.whole()
}

// While JetStream is away nothing is forgotten; when its store was lost, all that
// has no row comes again.
func TestTheStreamsAreLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.consume()
	r.put(r.append(acme, 3)...)
	r.arrived(6)
	stop()
	r.put(r.append(acme, 4)...) // these were stored, and nobody has read them
	r.nats.Stop()
	r.setAhead(2 * time.Minute)
	if err := r.sweeper.Pass(t.Context()); err == nil {
		t.Error("got no error without JetStream")
	}
	r.nats = testenv.NATS(t)
	r.js = r.nats.JetStream()
	r.provision()
	r.sweeper = r.newSweeper()
	r.pass(3*time.Minute).want("published", r.messages(), 8)
	r.consume()
	r.arrived(14)
	r.whole()
}

// The columns are those of the table, in its order and of its types.
func TestColumnsAreThoseOfTheOutbox(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	rows, err := db.Pool(testenv.Superuser).Query(t.Context(), `SELECT attname, atttypid::bigint FROM pg_attribute WHERE attrelid = 'event_runtime.outbox'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var name string
		var oid int64
		if err := rows.Scan(&name, &oid); err != nil {
			t.Fatal(err)
		}
		if n >= len(columns()) || columns()[n] != (column{name, uint32(oid)}) {
			t.Errorf("column %d: want %s of type %d", n, name, oid)
		} else if !strings.Contains(sqlRows, "o."+name+"::text") {
			t.Errorf("column %s is not read", name)
		}
	}
	if n != len(columns()) {
		t.Errorf("got %d columns, want %d", len(columns()), n)
	}
}
