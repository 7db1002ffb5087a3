package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/jackc/pgx/v5"
)

// oracle asks, when everything is at rest, whether anything is missing, doubled,
// sent again without a proof, or said where it must not be said.
func (r *rig) oracle() {
	r.t.Helper()
	r.wantWhole()
	ledger := r.regulator.Ledger(simulator.Keys, simulator.Requests)
	r.wantOnce(ledger)
	r.wantNoBlindRepeat(ledger)
	r.wantLegalMoves()
	r.wantMarkers(ledger)
	r.wantFates(ledger)
	r.wantRealReceipts(ledger)
	r.wantSilence()
}

// wantWhole is `event-runtime verify` without any grace.
func (r *rig) wantWhole() {
	r.t.Helper()
	report, err := verify.Run(r.t.Context(), r.pool, verify.Options{Split: app.Splitters()})
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Exit != verify.Whole || report.Conflicts != 0 {
		r.t.Errorf("verify: exit %d, %d pending, %d conflicts, %v", report.Exit, report.Pending, report.Conflicts, report.Broken)
	}
}

// wantOnce: the regulator holds no report twice.
func (r *rig) wantOnce(ledger simulator.Ledger) {
	r.t.Helper()
	if n := ledger.Totals.Duplicates; n != 0 {
		r.t.Errorf("the regulator holds %d reports more than once", n)
	}
	for _, k := range ledger.Keys {
		if k.Stored > 1 {
			r.t.Errorf("stored %d times: %s of %s, interaction %s: %+v", k.Stored, k.Role, k.Organisation, k.FapiInteractionID, k.Arrivals)
		}
	}
}

// A proof is an entry of the audit ledger: this batch was not stored, so it, or
// some of its items in a batch of their own, may be sent again.
type proof struct {
	batch   string
	attempt int
	at      time.Time
}

func (r *rig) proofs() []proof {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `SELECT subject, (convert_from(payload_bytes, 'UTF8')::jsonb ->> 'attempt')::int, ts
		FROM event_runtime.audit_ledger WHERE action = 'batch.proven_absent' ORDER BY ts`)
	if err != nil {
		r.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p proof, err error) { return p, row.Scan(&p.batch, &p.attempt, &p.at) })
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// wantNoBlindRepeat: what was not answered was not sent again, unless it was
// proven in between that it is not stored, or whoever had posted it came back and
// knew better. The database and the regulator's own ledger are asked apart.
func (r *rig) wantNoBlindRepeat(ledger simulator.Ledger) {
	r.t.Helper()
	proofs := r.proofs()
	proven := func(batch string, attempt int) bool {
		return slices.ContainsFunc(proofs, func(p proof) bool { return p.batch == batch && p.attempt == attempt })
	}
	rows, err := r.pool.Query(r.t.Context(), `
		SELECT a.batch_id::text, a.attempt FROM event_runtime.submission_attempts a JOIN event_runtime.export_batches b USING (batch_id)
		 WHERE a.outcome = 'unknown' AND b.attempt > a.attempt
		   AND NOT EXISTS (SELECT FROM event_runtime.submission_attempts l WHERE (l.batch_id, l.attempt) = (a.batch_id, a.attempt) AND l.late AND l.outcome IN ('never_sent', 'refused'))
		UNION ALL
		SELECT p.batch_id::text, p.attempt FROM event_runtime.export_batches c JOIN event_runtime.export_batches p ON p.batch_id = c.parent_id WHERE c.reason = 'proven_absent'`)
	if err != nil {
		r.t.Fatal(err)
	}
	var batch string
	var attempt int
	if _, err := pgx.ForEachRow(rows, []any{&batch, &attempt}, func() error {
		if !proven(batch, attempt) {
			r.t.Errorf("batch %s was sent again after attempt %d, whose answer is unknown, without a proof", batch, attempt)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	r.wantProofBetween(ledger, proofs)
}

// wantProofBetween looks at the copies that arrived, whatever our own books say.
func (r *rig) wantProofBetween(ledger simulator.Ledger, proofs []proof) {
	r.t.Helper()
	batchesOf := r.batchesOf()
	for _, k := range ledger.Keys {
		for n := 1; n < len(k.Arrivals); n++ {
			before, again := k.Arrivals[n-1], k.Arrivals[n]
			if before.Answered && before.HTTPStatus >= 400 && before.HTTPStatus < 500 || before.Answered && before.Status == "DISCARDED" {
				continue // refused, and we heard it
			}
			of := batchesOf[key{k.Role, k.Organisation, k.FapiInteractionID}]
			if !slices.ContainsFunc(proofs, func(p proof) bool {
				return slices.Contains(of, p.batch) && p.at.After(before.Time) && !p.at.After(again.Time)
			}) {
				r.t.Errorf("interaction %s (%s of %s) arrived again at %v without a proof since %v: %+v", k.FapiInteractionID, k.Role, k.Organisation, again.Time, before.Time, k.Arrivals)
			}
		}
	}
}

// batchesOf says in which batches each report was.
func (r *rig) batchesOf() map[key][]string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `
		SELECT k.role, k.organisation_id::text, k.interaction_id::text, b.batch_id::text
		  FROM event_runtime.export_batches b, unnest(b.event_ids) AS i(id) JOIN event_runtime.consumer_outcomes k ON k.event_id = i.id WHERE k.interaction_id IS NOT NULL`)
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[key][]string{}
	var k key
	var batch string
	if _, err := pgx.ForEachRow(rows, []any{&k.role, &k.organisation, &k.interaction, &batch}, func() error {
		all[k] = append(all[k], batch)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// wantLegalMoves: no batch made a step that the state machine does not know.
func (r *rig) wantLegalMoves() {
	r.t.Helper()
	for _, s := range r.history() {
		if !moves[s.was+" -> "+s.state] {
			r.t.Errorf("no such move: %v", s)
		}
	}
}

// unread is the sum of a body that the regulator did not look at.
var unread = strings.Repeat("0", 64)

// wantMarkers: before each request arrived, a marker for it was committed.
func (r *rig) wantMarkers(ledger simulator.Ledger) {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `
		SELECT encode(b.body_sha256, 'hex'), h.at FROM chaos.history h JOIN event_runtime.export_batches b USING (batch_id) WHERE h.state = 'posting' ORDER BY h.seq`)
	if err != nil {
		r.t.Fatal(err)
	}
	markers := map[string][]time.Time{}
	var sum string
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&sum, &at}, func() error { markers[sum] = append(markers[sum], at); return nil }); err != nil {
		r.t.Fatal(err)
	}
	arrived := map[string]int{}
	for _, q := range ledger.Requests {
		if q.BodySHA256 == unread {
			continue // refused for its token or its header
		}
		n := arrived[q.BodySHA256]
		arrived[q.BodySHA256]++
		// The regulator's times end with the millisecond.
		if all := markers[q.BodySHA256]; n >= len(all) || all[n].Truncate(time.Millisecond).After(q.Time) {
			r.t.Errorf("request %d arrived at %v without a marker before it: %v", q.Number, q.Time, all)
		}
	}
}

// wantFates: each event ended where the test knows that it should.
func (r *rig) wantFates(ledger simulator.Ledger) {
	r.t.Helper()
	ends, stored := r.ends(), map[key]int{}
	open, openStored := 0, 0
	for _, k := range ledger.Keys {
		if k.API == "opendata" {
			openStored += k.Stored
			continue
		}
		stored[key{k.Role, k.Organisation, k.FapiInteractionID}] = k.Stored
	}
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			r.t.Errorf(format, args...)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sent {
		end, there := ends[s.id]
		if s.maybe && !there && stored[s.key] == 0 {
			continue // its transaction was rolled back, and nobody has heard of it
		}
		want := string(s.fate)
		if s.reason != "" {
			want += ":" + s.reason
		}
		switch {
		case end != want:
			complain("%v ended as %q, want %q", s, end, want)
		case s.open && s.fate == reported, s.open && s.fate == inDoubt && s.stored:
			open++
		case s.fate == reported && stored[s.key] != 1:
			complain("%v is stored %d times at the regulator, want once", s, stored[s.key])
		}
	}
	if open != openStored {
		complain("the regulator holds %d reports of open data, want %d", openStored, open)
	}
	if wrong > 20 {
		r.t.Errorf("and %d more", wrong-20)
	}
}

// ends says where each event of the outbox is.
func (r *rig) ends() map[string]string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `
		SELECT o.event_id::text, coalesce(
		         (SELECT CASE WHEN k.outcome <> 'accepted' THEN k.outcome
		                      WHEN EXISTS (SELECT FROM event_runtime.submission_receipts s WHERE s.event_id = o.event_id AND s.accepted) THEN 'reported'
		                      ELSE 'accepted, without a receipt' END
		            FROM event_runtime.consumer_outcomes k WHERE k.event_id = o.event_id AND k.recorded_on = o.recorded_on AND k.tenant_id = o.tenant_id),
		         (SELECT 'quarantined:' || q.reason FROM event_runtime.quarantine q WHERE q.event_id = o.event_id AND q.stage = 'ingest'),
		         'nowhere')
		  FROM event_runtime.outbox o`)
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]string{}
	var id, end string
	if _, err := pgx.ForEachRow(rows, []any{&id, &end}, func() error { all[id] = end; return nil }); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// wantRealReceipts: a report id of ours is one that the regulator gave to a copy
// of that very report.
func (r *rig) wantRealReceipts(ledger simulator.Ledger) {
	r.t.Helper()
	given := map[string]key{}
	for _, k := range ledger.Keys {
		for _, a := range k.Arrivals {
			given[a.ReportID] = key{k.Role, k.Organisation, k.FapiInteractionID}
			if k.API == "opendata" {
				given[a.ReportID] = key{} // which of them it is, no id says
			}
		}
	}
	rows, err := r.pool.Query(r.t.Context(), `
		SELECT s.report_id::text, coalesce(k.role, ''), coalesce(k.organisation_id::text, ''), coalesce(k.interaction_id::text, '')
		  FROM event_runtime.submission_receipts s JOIN event_runtime.consumer_outcomes k USING (event_id) WHERE s.report_id IS NOT NULL`)
	if err != nil {
		r.t.Fatal(err)
	}
	var id string
	var k key
	if _, err := pgx.ForEachRow(rows, []any{&id, &k.role, &k.organisation, &k.interaction}, func() error {
		if of, ok := given[id]; !ok || of != k {
			r.t.Errorf("a receipt has report id %s, which the regulator gave to %v and not to %v", id, given[id], k)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
}

// wantSilence: what was planted is in no log and no spooled answer, and no process
// panicked or raced.
func (r *rig) wantSilence() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := map[string]string{}
	for _, p := range r.procs {
		texts[fmt.Sprintf("the log of process %d", p.PID())] = p.Log()
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(p.Log(), bad) {
				r.t.Errorf("%s in process %d", bad, p.PID())
			}
		}
	}
	for _, path := range r.spooled() {
		body, err := os.ReadFile(path)
		if err != nil {
			r.t.Errorf("read spool: %v", err)
		}
		texts[path] = string(body)
	}
	for where, text := range texts {
		for _, value := range append(slices.Clone(personal), caller) {
			if strings.Contains(text, value) {
				r.t.Errorf("personal data in %s", where)
			}
		}
	}
}

// spooled lists answers that wait on disk to be recorded.
func (r *rig) spooled() []string {
	found, _ := filepath.Glob(filepath.Join(r.dir, "spool", "*.json"))
	return found
}
