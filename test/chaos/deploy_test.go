package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
)

// grace is what an orchestrator leaves a process to end in order.
const grace = 30 * time.Second

// Under load one worker after the other is told to end, and another one takes its
// place; halfway the schema becomes the next release's, and relay and workers of
// this one run on it. All end in order and in time, hardly a message is delivered
// twice, and nothing is lost or doubled.
func TestScenario19RollingDeploy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	relay := r.relay()
	workers := []*testenv.Process{r.serve(), r.serve()}
	loaded, stop := context.WithCancel(t.Context())
	ended := r.load(loaded, 40, banks()...)
	const rolls = 4
	for roll := range rolls {
		if roll == rolls/2 {
			r.nextSchema()
			r.replace(relay, r.relay(), "relay.stood_by") // until the old one lets go of the slot
		}
		fresh := r.serve()
		r.replace(workers[0], fresh, "batch.posted")
		workers = append(workers[1:], fresh)
	}
	stop()
	<-ended
	r.quiescent()
	r.oracle()
	r.wantNoStorm()
}

// replace waits until the new process has logged that it is at work, and ends the
// old one.
func (r *rig) replace(old, fresh *testenv.Process, event string) {
	r.t.Helper()
	fresh.Line(`"event":"` + event + `"`)
	old.Signal(terminate)
	r.until("it has ended within its grace", grace, func() bool { return gone(old) })
	old.ExitedWith(0)
}

// The next release adds columns; that is all a migration may do to what this one
// uses.
const sqlTables = `
SELECT format('ALTER TABLE %s ADD COLUMN next_release text', c.oid::regclass) FROM pg_class c
 WHERE c.relnamespace = 'event_runtime'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`

func (r *rig) nextSchema() {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), sqlTables)
	if err != nil {
		r.t.Fatal(err)
	}
	var statements []string
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			r.t.Fatal(err)
		}
		statements = append(statements, statement)
	}
	if err := rows.Err(); err != nil || len(statements) == 0 {
		r.t.Fatalf("got %d tables: %v", len(statements), err)
	}
	for _, statement := range statements {
		r.db.Exec(statement)
	}
}

// wantNoStorm: a worker that ends gives back what it has in hand, and nothing
// goes round in circles.
func (r *rig) wantNoStorm() {
	r.t.Helper()
	var deliveries, messages uint64
	for _, info := range r.consumers() {
		deliveries, messages = deliveries+info.Delivered.Consumer, messages+info.Delivered.Stream
	}
	r.t.Logf("%d deliveries of %d messages", deliveries, messages)
	if deliveries > 2*messages {
		r.t.Errorf("%d messages were delivered %d times", messages, deliveries)
	}
}
