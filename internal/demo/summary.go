package demo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Summary is what a run came to: one JSON object.
type Summary struct {
	Appended            int64            `json:"appended"`
	CapturedLost        int64            `json:"captured_lost"`
	CapturedLate        int64            `json:"captured_late"`
	Relayed             int64            `json:"relayed"`  // messages in the streams, heartbeats too
	Canaries            int64            `json:"canaries"` // heartbeats that arrived
	Accepted            int64            `json:"accepted"`
	AcceptedByAPI       map[string]int64 `json:"accepted_by_api"` // of the regulator; none: it went before a person
	Ineligible          map[string]int64 `json:"ineligible"`
	Quarantined         map[string]int64 `json:"quarantined"`
	Batches             map[string]int64 `json:"batches"`
	Receipts            map[string]int64 `json:"receipts"`
	Presumed            int64            `json:"presumed"` // found, but possibly the counterparty's: asked until paired
	Unconfirmed         Unconfirmed      `json:"unconfirmed"`
	RegulatorDuplicates int64            `json:"regulator_duplicates"`
	BooksBalanced       bool             `json:"books_balanced"`
	VerifyExit          int              `json:"verify_exit"`
	Seed                uint64           `json:"seed"`
}

// Unconfirmed are batches in doubt.
type Unconfirmed struct {
	Askable     int64 `json:"askable"`
	NeedsPerson int64 `json:"needs_person"`
}

// Backlog is what is still on its way.
type Backlog struct {
	Arriving int64 // owed to a consumer
	Waiting  int64 // in chunks that are not held
	Sending  int64 // sealed or being posted
	Askable  int64 // unconfirmed
}

// Done reports that nothing moves any more by itself.
func (b Backlog) Done() bool { return b == Backlog{} }

// The heartbeats of a machine are nobody's events.
const sqlAppended = `SELECT count(*) FROM event_runtime.outbox WHERE event_type <> 'interaction.canary'`

const sqlOutcomes = `SELECT outcome, count(*) FROM event_runtime.consumer_outcomes GROUP BY outcome`

const sqlByAPI = `SELECT coalesce(api, 'none'), count(*) FROM event_runtime.consumer_outcomes WHERE outcome = 'accepted' GROUP BY 1`

const sqlQuarantined = `SELECT reason, count(*) FROM event_runtime.quarantine GROUP BY reason`

const sqlStates = `SELECT state, count(*) FROM event_runtime.export_batches GROUP BY state`

const sqlStatuses = `SELECT CASE WHEN source = 'lookup' THEN 'FOUND' ELSE status END, count(*) FROM event_runtime.submission_receipts GROUP BY 1`

const sqlUnconfirmed = `
SELECT count(*) FILTER (WHERE NOT needs_person), count(*) FILTER (WHERE needs_person) FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed'`

const sqlPresumedItems = `
SELECT count(*) FROM (SELECT FROM event_runtime.submission_receipts GROUP BY batch_id, position HAVING bool_and(side = 'unknown') AND bool_and(paired_id IS NULL)) AS p`

// ReadDatabase fills in what the database knows.
func (s *Summary) ReadDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	outcomes := map[string]int64{}
	s.AcceptedByAPI = map[string]int64{}
	s.Quarantined, s.Batches, s.Receipts, s.Ineligible = map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	for sql, into := range map[string]map[string]int64{sqlOutcomes: outcomes, sqlByAPI: s.AcceptedByAPI, sqlQuarantined: s.Quarantined, sqlStates: s.Batches, sqlStatuses: s.Receipts} {
		rows, err := pool.Query(ctx, sql)
		if err != nil {
			return fmt.Errorf("read summary: %w", err)
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { into[name] = n; return nil }); err != nil {
			return fmt.Errorf("read summary: %w", err)
		}
	}
	for outcome, n := range outcomes {
		switch {
		case outcome == "accepted":
			s.Accepted = n
		case outcome == "canary":
			s.Canaries = n
		case len(outcome) > len("ineligible:") && outcome[:len("ineligible:")] == "ineligible:":
			s.Ineligible[outcome[len("ineligible:"):]] = n
		}
	}
	for _, one := range []struct {
		sql  string
		into []any
	}{
		{sqlAppended, []any{&s.Appended}},
		{sqlUnconfirmed, []any{&s.Unconfirmed.Askable, &s.Unconfirmed.NeedsPerson}},
		{sqlPresumedItems, []any{&s.Presumed}},
	} {
		if err := pool.QueryRow(ctx, one.sql).Scan(one.into...); err != nil {
			return fmt.Errorf("read summary: %w", err)
		}
	}
	return nil
}

const sqlBacklog = `
SELECT (SELECT count(*) FROM event_runtime.outbox o
         WHERE EXISTS (SELECT FROM event_runtime.entitlements e WHERE e.ecosystem = o.ecosystem AND starts_with(o.event_type, e.family || '.') AND o.event_id >= e.since
                          AND NOT EXISTS (SELECT FROM event_runtime.consumer_idempotency k
                                           WHERE k.tenant_id = o.tenant_id AND k.recorded_on = o.recorded_on AND k.event_id = o.event_id AND k.consumer = e.consumer)
                          AND NOT EXISTS (SELECT FROM event_runtime.quarantine q WHERE q.event_id = o.event_id AND q.stage = 'ingest' AND q.consumer = e.consumer))),
       (SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks c JOIN event_runtime.tenants t USING (tenant_id) WHERE t.state = 'active'),
       (SELECT count(*) FROM event_runtime.export_batches WHERE state IN ('sealed', 'posting')),
       (SELECT count(*) FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' AND NOT needs_person)`

// ReadBacklog says what is still on its way.
func ReadBacklog(ctx context.Context, pool *pgxpool.Pool) (b Backlog, err error) {
	if err = pool.QueryRow(ctx, sqlBacklog).Scan(&b.Arriving, &b.Waiting, &b.Sending, &b.Askable); err != nil {
		err = fmt.Errorf("read backlog: %w", err)
	}
	return b, err
}
