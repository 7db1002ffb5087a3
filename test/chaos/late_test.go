package chaos

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// sweepsAtOnce makes the sweeper quick: it looks all the time, and closes days.
var sweepsAtOnce = withEnv("SWEEP_INTERVAL=200ms", "SWEEP_GRACE=10ms", "SWEEP_AGAIN=2s", "SWEEP_WHOLE=500ms")

const sqlAppendAt = `
SELECT event_runtime.append_event($1, 'ofb', 'interaction.completed', $2::jsonb, event_id => $3::uuid, source => 'chaos')`

// appendAt adds a call to tx as it was made at another time: the clock guard looks
// at a clock of the test's.
func (r *rig) appendAt(tx pgx.Tx, at time.Time, b bank) *sent {
	r.t.Helper()
	e, s := r.call(b)
	s.id = event.NewID(at).String()
	payload := e.Payload.(map[string]any)
	payload["timestamp"] = at.UTC().Format("2006-01-02T15:04:05.000Z")
	body, err := json.Marshal(payload)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := tx.Exec(r.t.Context(), `SELECT set_config('event_runtime.now', $1, true)`, at.Format(time.RFC3339)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := tx.Exec(r.t.Context(), sqlAppendAt, b.tenant, string(body), s.id); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// callsAt appends n calls of another time, in one transaction.
func (r *rig) callsAt(at time.Time, n int, b bank) {
	r.t.Helper()
	var all []*sent
	err := pgx.BeginFunc(r.t.Context(), r.producer, func(tx pgx.Tx) error {
		for range n {
			all = append(all, r.appendAt(tx, at, b))
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.remember(all...)
}

func (r *rig) remember(all ...*sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, all...)
}

// A day stays open as long as a transaction may still add to it. What comes after
// it was closed all the same opens it again, and is reported in a batch of its own.
func TestScenario22CommitsAfterTheDay(t *testing.T) {
	t.Parallel()
	r := newRig(t, sweepsAtOnce)
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-3*24*time.Hour + 12*time.Hour)
	day := at.Format(time.DateOnly)
	r.exec(`UPDATE event_runtime.settings SET test_clock = true`)
	r.exec(`SELECT event_runtime.ensure_days($1::date, $1::date)`, day)
	r.exec(`UPDATE event_runtime.entitlements SET since = event_runtime.new_event_id($1::date::timestamptz)`, day)
	closed := func() int64 {
		return r.count(`SELECT coalesce(max(closings) FILTER (WHERE closed_at IS NOT NULL), 0) FROM event_runtime.days WHERE day = $1::date`, day)
	}
	bank := banks()[1]
	open, err := r.producer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Rollback(noCancel(t)) }()
	late := r.appendAt(open, at, bank)
	r.relay()
	worker := r.serve()
	r.callsAt(at, 6, bank)
	r.quiescent()
	kept := `"event":"day.kept_open","day":"` + day + `","reason":"unseen"`
	r.until("the day is kept open", time.Minute, func() bool { return strings.Contains(worker.Log(), kept) })
	if n := closed(); n != 0 {
		t.Error("the day was closed while a transaction could still add to it")
	}
	if err := open.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.remember(late)
	r.until("the day is closed", time.Minute, func() bool { return closed() == 1 })
	r.callsAt(at, 4, bank)
	r.until("the day was opened and is closed again", time.Minute, func() bool { return closed() == 2 })
	r.quiescent()
	r.oracle()
	var batches, items int64
	r.scan(`SELECT count(*), coalesce(sum(items), 0) FROM event_runtime.export_batches WHERE reason = 'correction'`, nil, &batches, &items)
	if batches == 0 || items != 4 {
		t.Errorf("got %d items in %d batches of corrections, want the 4 that came late", items, batches)
	}
	if n := r.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'day.reopened' AND subject = $1`, day); n != 1 {
		t.Errorf("the ledger has %d entries of a day opened again, want 1", n)
	}
}
