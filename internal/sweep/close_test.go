package sweep

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// These tests have a cluster each: who is writing elsewhere would keep days open.

const later = 3 * day // when yesterday, today and tomorrow are over

// close tries to close what is over, with the clock ahead.
func (r *rig) close(ahead time.Duration) *rig {
	r.t.Helper()
	r.setAhead(ahead)
	if err := r.sweeper.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func (r *rig) closed() int {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.days WHERE closed_at IS NOT NULL`)
}

func (r *rig) ledger(action string) int {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE chain_id = $1 AND action = $2`, audit.PlatformChain, action)
}

func TestADayIsClosedWhenItIsOverAndBalances(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, testenv.Cluster(t))
	r.consume()
	r.put(r.append(acme, 4)...)
	r.arrived(8)
	r.close(0).want("closed before they are over", r.closed(), 0)
	r.close(later).want("closed", r.closed(), 3) // the days that the template has
	r.close(later).want("entries", r.ledger("day.closed"), 3)
	r.want("booked in the entry", r.count(`SELECT sum((convert_from(payload_bytes, 'UTF8')::jsonb ->> 'events')::int)::int FROM event_runtime.audit_ledger WHERE action = 'day.closed'`), 8)
	r.whole()
}

// A transaction that is open may still add to the day, however long it takes;
// and what it added has its row before the day is closed.
func TestADayWaitsForWhoeverIsStillWriting(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, testenv.Cluster(t))
	tx, err := r.producer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sqlAppendCall, acme, call(), event.NewID(time.Now())); err != nil {
		t.Fatal(err)
	}
	r.consume()
	r.close(later).want("closed while it is open", r.closed(), 0)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.close(later+2*time.Minute).want("closed while its event has no row", r.closed(), 2)
	r.arrived(1)
	r.close(later+2*time.Hour).want("closed", r.closed(), 3)
	r.want("opened again", r.ledger("day.reopened"), 0)
	r.whole()
}

// What comes for a closed day after all opens it, and is a correction.
func TestAClosedDayIsOpenedAgain(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, testenv.Cluster(t))
	r.consume()
	r.put(r.append(acme, 2)...)
	r.arrived(4)
	r.close(later).want("closed", r.closed(), 3)
	ids := r.append(acme, 2)
	r.put(ids...)
	r.arrived(8)
	r.want("closed", r.closed(), 2)
	r.want("corrections", r.count(`SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks WHERE correction`), 2)
	r.want("others", r.count(`SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks WHERE NOT correction`), 2)
	r.want("opened again", r.ledger("day.reopened"), 1)
	r.close(later+time.Hour).want("closed", r.closed(), 3)
	r.want("closings", r.count(`SELECT max(closings) FROM event_runtime.days`), 2)
	r.again(ids...) // seen before: nothing new
	r.eventually("the copies were counted", func() bool {
		return r.count(`SELECT sum(duplicates)::int FROM event_runtime.books`) == len(ids)
	})
	r.want("closed", r.closed(), 3)
	r.whole()
}

// again publishes copies of events of acme under ids that JetStream has not seen.
func (r *rig) again(ids ...event.ID) {
	r.t.Helper()
	for _, id := range ids {
		rows, err := r.sweeper.rows(r.t.Context(), []Key{{acme, id.Day(), id}})
		if err != nil || len(rows) != 1 {
			r.t.Fatalf("got %d rows, %v", len(rows), err)
		}
		msg := r.sweeper.encoder.message(rows[0])
		msg.Header.Set(nats.MsgIdHdr, nats.NewInbox())
		if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A day whose books do not balance stays open, and says by which equation.
func TestADayThatDoesNotBalanceStaysOpen(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, testenv.Cluster(t))
	r.consume()
	r.put(r.append(acme, 2)...)
	r.arrived(4)
	r.db.Exec(`DELETE FROM event_runtime.lane_chunks`)
	r.close(later).want("closed", r.closed(), 2)
	seen := r.sweeper.metrics.close.Load()
	r.want("differences", int(seen.differences["placed"]), 2)
	r.want("overdue", int(seen.overdue), 1)
}

// Who has lost the lease closes no day and moves no mark.
func TestNothingIsWrittenWithoutTheLease(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, testenv.Cluster(t))
	r.pass(0)
	const sqlWritten = `SELECT (SELECT sum(extract(epoch FROM swept_until))::bigint FROM event_runtime.sweep_marks) + (SELECT coalesce(sum(published), 0) FROM event_runtime.sweep_owed)`
	before := r.count(sqlWritten)
	lost := errors.New("lost")
	r.sweeper.Hold = func(context.Context, pgx.Tx) error { return lost }
	r.append(acme, 1)
	r.setAhead(later)
	for _, do := range []func(context.Context) error{r.sweeper.Close, r.sweeper.Whole, r.sweeper.Pass} {
		if err := do(t.Context()); !errors.Is(err, lost) {
			t.Errorf("got %v, want the lease to be lost", err)
		}
	}
	r.want("written", r.count(sqlWritten), before)
	r.want("closed", r.closed(), 0)
}
