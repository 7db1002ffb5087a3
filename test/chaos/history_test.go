package chaos

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Every state that a batch was ever in, also one that it left again at once.
const sqlWatch = `
CREATE SCHEMA chaos;
CREATE TABLE chaos.history (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
  batch_id uuid NOT NULL, was text, state text NOT NULL, attempt int NOT NULL, owner text, code text);
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.history (batch_id, was, state, attempt, owner, code)
  VALUES (new.batch_id, CASE WHEN tg_op = 'UPDATE' THEN old.state END, new.state, new.attempt, new.owner, new.code);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos_insert AFTER INSERT ON event_runtime.export_batches FOR EACH ROW EXECUTE FUNCTION chaos.note();
CREATE TRIGGER chaos_update AFTER UPDATE ON event_runtime.export_batches FOR EACH ROW WHEN (old.state IS DISTINCT FROM new.state) EXECUTE FUNCTION chaos.note();
GRANT USAGE ON SCHEMA chaos TO runtime_readonly;
GRANT SELECT ON chaos.history TO runtime_readonly`

func (r *rig) watch() {
	r.t.Helper()
	r.db.Exec(sqlWatch)
}

// A step is one move of a batch.
type step struct {
	at                time.Time
	batch, was, state string
	attempt           int
	owner, code       string
}

func (s step) String() string {
	return fmt.Sprintf("%s  batch %s  %s -> %s  attempt %d  %s %s", s.at.Format("15:04:05.000"), s.batch, s.was, s.state, s.attempt, s.owner, s.code)
}

// history lists the moves in their order.
func (r *rig) history() []step {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `SELECT at, batch_id::text, coalesce(was, ''), state, attempt, coalesce(owner, ''), coalesce(code, '') FROM chaos.history ORDER BY seq`)
	if err != nil {
		r.t.Fatal(err)
	}
	steps, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s step, err error) {
		return s, row.Scan(&s.at, &s.batch, &s.was, &s.state, &s.attempt, &s.owner, &s.code)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return steps
}

// moves are the only ones that the state machine knows.
var moves = map[string]bool{
	" -> sealed": true, " -> awaiting_approval": true, "awaiting_approval -> sealed": true, "sealed -> posting": true,
	"posting -> sealed": true, "posting -> submitted": true, "posting -> partially_accepted": true, "posting -> rejected": true, "posting -> submit_unconfirmed": true,
	"submit_unconfirmed -> sealed": true, "submit_unconfirmed -> submitted": true, "submit_unconfirmed -> written_off": true,
	// An answer that was spooled, or whose process was stopped.
	"submit_unconfirmed -> partially_accepted": true, "submit_unconfirmed -> rejected": true,
}

// tell shows where the batches stood, when something is wrong.
func (r *rig) tell() {
	if !r.t.Failed() {
		return
	}
	r.t.Logf("CHAOS_SEED=%d", r.seedValue)
	conn, err := pgx.Connect(noCancel(r.t), r.db.URL("superuser"))
	if err != nil {
		r.t.Logf("the database cannot be asked: %v", err)
		return
	}
	defer func() { _ = conn.Close(noCancel(r.t)) }()
	for name, sql := range map[string]string{
		"history":     `SELECT to_char(at, 'HH24:MI:SS.MS') || ' ' || batch_id || ' ' || coalesce(was, '') || ' -> ' || state || ' ' || attempt || ' ' || coalesce(owner, '') || ' ' || coalesce(code, '') FROM chaos.history ORDER BY seq DESC LIMIT 100`,
		"batches":     `SELECT batch_id || ' ' || tenant_id || ' ' || state || ' attempt ' || attempt || ' items ' || items || ' ask_at ' || coalesce(ask_at::text, '-') || ' probe ' || ask_probe || ' not_before ' || coalesce(not_before::text, '-') FROM event_runtime.export_batches WHERE state NOT IN ('submitted') OR ask_at IS NOT NULL LIMIT 50`,
		"lanes":       `SELECT tenant_id || ' owner ' || coalesce(owner, '-') || ' until ' || expires_at || ' failures ' || failures || ' paused ' || coalesce(paused_until::text, '-') || ' ' || coalesce(pause_reason, '') FROM event_runtime.lanes`,
		"leases":      `SELECT job || ' owner ' || owner || ' until ' || expires_at FROM event_runtime.leases`,
		"inquiries":   `SELECT to_char(asked_at, 'HH24:MI:SS.MS') || ' ' || batch_id || ' attempt ' || attempt || ' probe ' || probe || ' position ' || position || ' ' || answer FROM event_runtime.submission_inquiries ORDER BY asked_at DESC, position LIMIT 40`,
		"attempts":    `SELECT batch_id || ' ' || attempt || ' ' || outcome || ' ' || code || ' ' || coalesce(detail, '') || CASE WHEN late THEN ' late' ELSE '' END FROM event_runtime.submission_attempts ORDER BY ended_at DESC LIMIT 60`,
		"quarantined": `SELECT stage || ' ' || reason || ' ' || count(*) FROM event_runtime.quarantine GROUP BY stage, reason`,
	} {
		rows, err := conn.Query(noCancel(r.t), sql)
		if err != nil {
			r.t.Logf("%s: %v", name, err)
			continue
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		r.t.Logf("%s (%v):\n  %s", name, err, strings.Join(lines, "\n  "))
	}
}
