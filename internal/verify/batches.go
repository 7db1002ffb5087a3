package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/books"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/jackc/pgx/v5"
)

const sqlBatches = `
SELECT batch_id, ecosystem, api, state, coalesce(code, ''), attempt, items, event_ids, item_hashes, merkle_root, body, body_bytes, body_sha256,
       coalesce(superseded_by, '{}'), r.positions, r.accepted, r.lookup, r.events, a.attempts
  FROM event_runtime.export_batches b
 CROSS JOIN LATERAL (SELECT array_agg(position) AS positions, array_agg(accepted) AS accepted, array_agg(source = 'lookup') AS lookup, array_agg(event_id) AS events
                       FROM event_runtime.submission_receipts r WHERE r.batch_id = b.batch_id) AS r
 CROSS JOIN LATERAL (SELECT array_agg(DISTINCT attempt) AS attempts FROM event_runtime.submission_attempts a WHERE a.batch_id = b.batch_id) AS a
 ORDER BY batch_id`

type batch struct {
	id, ecosystem, api, state, code string
	attempt, items, bodyBytes       int
	events                          []event.ID
	hashes, root, body, sum         []byte
	superseded                      []*event.ID
	positions                       []int
	accepted, lookup                []bool
	receiptOf                       []event.ID
	attempts                        []int
}

// batches recomputes what was frozen, and holds each batch's state against its
// receipts and attempts. One batch is in memory at a time.
func (r *Report) batches(ctx context.Context, tx pgx.Tx, opt Options) error {
	rows, err := tx.Query(ctx, sqlBatches)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id event.ID
		var b batch
		if err := rows.Scan(&id, &b.ecosystem, &b.api, &b.state, &b.code, &b.attempt, &b.items, &b.events, &b.hashes, &b.root, &b.body, &b.bodyBytes, &b.sum, &b.superseded,
			&b.positions, &b.accepted, &b.lookup, &b.receiptOf, &b.attempts); err != nil {
			return err
		}
		b.id = id.String()
		r.Counted["batches"]++
		r.Counted["receipts"] += int64(len(b.positions))
		if why := b.frozen(opt); why != "" {
			r.broken("frozen", "batch "+b.id, why)
		}
		if d := b.judge(); d != nil {
			r.broken(string(d.Equation), "batch "+b.id, d.Detail)
		}
		if why := b.attempted(); why != "" {
			r.broken("attempts", "batch "+b.id, why)
		}
		for n, at := range b.positions {
			if at < len(b.events) && b.events[at] != b.receiptOf[n] {
				r.broken("receipt_item", fmt.Sprintf("batch %s position %d", b.id, at), "its receipt is about another event")
			}
		}
	}
	return rows.Err()
}

func (b *batch) frozen(opt Options) string {
	body, err := evidence.Expand(b.body)
	if err != nil {
		return "its bytes cannot be expanded"
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b.sum) || len(body) != b.bodyBytes {
		return "its bytes are not the ones that were sealed"
	}
	if root := evidence.MerkleRoot(b.hashes); !bytes.Equal(root[:], b.root) {
		return "its item hashes do not make its Merkle root"
	}
	split, ok := opt.Split[b.ecosystem]
	if !ok {
		return ""
	}
	items, err := split(b.api, body)
	if err != nil || len(items) != b.items {
		return fmt.Sprintf("its bytes do not hold %d items", b.items)
	}
	if !bytes.Equal(evidence.ItemHashes(items), b.hashes) {
		return "its items do not match their hashes"
	}
	return ""
}

func (b *batch) judge() *books.Difference {
	facts := books.Batch{State: b.state, Code: b.code, Items: b.items}
	for _, by := range b.superseded {
		facts.Superseded = append(facts.Superseded, by != nil)
	}
	for n, at := range b.positions {
		facts.Receipts = append(facts.Receipts, books.Receipt{Position: at, Accepted: b.accepted[n], Lookup: b.lookup[n]})
	}
	return books.JudgeBatch(facts)
}

// attempted holds the count of attempts against their rows: only one that is
// under way may have none.
func (b *batch) attempted() string {
	for n := 1; n <= b.attempt; n++ {
		if !slices.Contains(b.attempts, n) && (n != b.attempt || b.state != "posting") {
			return fmt.Sprintf("attempt %d of %d has no row", n, b.attempt)
		}
	}
	if len(b.attempts) > b.attempt {
		return fmt.Sprintf("%d attempts have rows, %d were made", len(b.attempts), b.attempt)
	}
	return ""
}

// An unconfirmed batch is asked about, or waits for persons. One that does neither
// would stay in doubt for ever.
const sqlForgotten = `
SELECT batch_id FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' AND ask_at IS NULL AND NOT needs_person LIMIT 100`

const sqlPersons = `SELECT count(*) FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' AND needs_person`

func (r *Report) doubt(ctx context.Context, tx pgx.Tx, _ Options) error {
	if err := tx.QueryRow(ctx, sqlPersons).Scan(&r.Persons); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sqlForgotten)
	if err != nil {
		return err
	}
	var batch event.ID
	_, err = pgx.ForEachRow(rows, []any{&batch}, func() error {
		r.broken("doubt", "batch "+batch.String(), "it is unconfirmed, but nobody is asked about it and it waits for no person")
		return nil
	})
	return err
}

const sqlAnswers = `
SELECT a.batch_id, a.attempt, a.late, a.raw, a.raw_sha256, array_agg(r.position ORDER BY r.position) FILTER (WHERE r.position IS NOT NULL),
       array_agg(r.report_id ORDER BY r.position) FILTER (WHERE r.position IS NOT NULL), array_agg(r.status ORDER BY r.position) FILTER (WHERE r.position IS NOT NULL)
  FROM event_runtime.submission_attempts a
  LEFT JOIN event_runtime.submission_receipts r ON r.batch_id = a.batch_id AND r.attempt = a.attempt AND r.late = a.late AND r.source = 'response'
 GROUP BY a.batch_id, a.attempt, a.late ORDER BY a.batch_id, a.attempt`

// receipts looks for every receipt in the answer it claims to come from.
func (r *Report) receipts(ctx context.Context, tx pgx.Tx, _ Options) error {
	if err := r.reportIDs(ctx, tx); err != nil {
		return err
	}
	if err := r.unanswered(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sqlAnswers)
	if err != nil {
		return err
	}
	var batch event.ID
	var attempt int
	var late bool
	var raw, sum []byte
	var c claims
	_, err = pgx.ForEachRow(rows, []any{&batch, &attempt, &late, &raw, &sum, &c.positions, &c.reports, &c.statuses}, func() error {
		r.Counted["attempts"]++
		if why := backed(raw, sum, c); why != "" {
			r.broken("answer", fmt.Sprintf("attempt %d of batch %s", attempt, batch), why)
		}
		c = claims{}
		return nil
	})
	return err
}

// claims are what receipts say about one answer, by item.
type claims struct {
	positions []int
	reports   []*event.ID // nil where the regulator gave none
	statuses  []string
}

// backed says why receipts are not in a stored answer.
func backed(raw, sum []byte, c claims) string {
	if raw == nil {
		if len(c.positions) > 0 {
			return "it has receipts, but no stored answer"
		}
		return ""
	}
	answer, err := evidence.Expand(raw)
	if err != nil {
		return "its answer cannot be expanded"
	}
	if actual := sha256.Sum256(answer); !bytes.Equal(actual[:], sum) {
		return "its answer does not match its hash"
	}
	if len(c.positions) == 0 {
		return ""
	}
	var items []json.RawMessage
	if err := json.Unmarshal(answer, &items); err != nil {
		items = []json.RawMessage{answer} // a single receipt
	}
	for n, at := range c.positions {
		if at >= len(items) || !c.in(n, string(items[at])) {
			return fmt.Sprintf("the receipt of position %d is not in the answer", at)
		}
	}
	return ""
}

// in looks for the words of the n-th claim; how an answer names its members is
// the adapter's business.
func (c claims) in(n int, item string) bool {
	return strings.Contains(item, `"`+c.statuses[n]+`"`) &&
		(c.reports[n] == nil || strings.Contains(strings.ToLower(item), c.reports[n].String()))
}

// A report is about one event. Where the two sides of a call cannot be told
// apart, both may have found the same one.
const sqlReportIDs = `
SELECT report_id, count(*) FILTER (WHERE source = 'response'), count(DISTINCT event_id) FILTER (WHERE side = 'ours')
  FROM event_runtime.submission_receipts WHERE report_id IS NOT NULL
 GROUP BY report_id HAVING count(*) FILTER (WHERE source = 'response') > 1 OR count(DISTINCT event_id) FILTER (WHERE side = 'ours') > 1 LIMIT 100`

func (r *Report) reportIDs(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sqlReportIDs)
	if err != nil {
		return err
	}
	var id event.ID
	var answers, events int
	_, err = pgx.ForEachRow(rows, []any{&id, &answers, &events}, func() error {
		r.broken("report_id", "report "+id.String(), fmt.Sprintf("%d receipts of answers have this report id, for %d events", answers, events))
		return nil
	})
	return err
}

// A receipt that claims to come from an answer to a request that was never made.
const sqlUnanswered = `
SELECT r.batch_id, r.position FROM event_runtime.submission_receipts r
 WHERE r.source = 'response' AND NOT EXISTS (SELECT FROM event_runtime.submission_attempts a
   WHERE a.batch_id = r.batch_id AND a.attempt = r.attempt AND a.late = r.late) LIMIT 100`

func (r *Report) unanswered(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sqlUnanswered)
	if err != nil {
		return err
	}
	var batch event.ID
	var at int
	_, err = pgx.ForEachRow(rows, []any{&batch, &at}, func() error {
		r.broken("answer", fmt.Sprintf("batch %s position %d", batch, at), "its receipt is there without the attempt that it claims to answer")
		return nil
	})
	return err
}

const sqlInquiries = `
SELECT q.batch_id, q.probe, q.position, q.raw, q.raw_sha256, r.report_id, r.status
  FROM event_runtime.submission_inquiries q
  LEFT JOIN event_runtime.submission_receipts r ON r.batch_id = q.batch_id AND r.attempt = q.attempt AND r.probe = q.probe AND r.position = q.position`

// A receipt that was found by asking, without the answer it was found in.
const sqlUnfounded = `
SELECT r.batch_id, r.position FROM event_runtime.submission_receipts r
 WHERE r.source = 'lookup' AND NOT EXISTS (SELECT FROM event_runtime.submission_inquiries q
   WHERE q.batch_id = r.batch_id AND q.attempt = r.attempt AND q.probe = r.probe AND q.position = r.position AND q.answer = 'hit') LIMIT 100`

func (r *Report) inquiries(ctx context.Context, tx pgx.Tx, _ Options) error {
	rows, err := tx.Query(ctx, sqlInquiries)
	if err != nil {
		return err
	}
	var batch event.ID
	var probe, at int
	var raw, sum []byte
	var report *event.ID
	var status *string
	_, err = pgx.ForEachRow(rows, []any{&batch, &probe, &at, &raw, &sum, &report, &status}, func() error {
		r.Counted["inquiries"]++
		var c claims
		if status != nil {
			c = claims{[]int{0}, []*event.ID{report}, []string{*status}}
		}
		if why := backed(raw, sum, c); why != "" {
			r.broken("inquiry", fmt.Sprintf("probe %d of item %d of batch %s", probe, at, batch), why)
		}
		report, status = nil, nil
		return nil
	})
	if err != nil {
		return err
	}
	rows, err = tx.Query(ctx, sqlUnfounded)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&batch, &at}, func() error {
		r.broken("inquiry", fmt.Sprintf("item %d of batch %s", at, batch), "its receipt was found by asking, but the answer is not there")
		return nil
	})
	return err
}

const sqlAudit = `
SELECT chain_id, seq, ts, actor, action, subject, payload_bytes, payload_sha256, prev_hash, hash FROM event_runtime.audit_ledger ORDER BY chain_id, seq`

// audit walks every chain; after the first row that does not fit, what follows
// it in the chain proves nothing more.
func (r *Report) audit(ctx context.Context, tx pgx.Tx, _ Options) error {
	rows, err := tx.Query(ctx, sqlAudit)
	if err != nil {
		return err
	}
	var checker audit.Checker
	var row audit.Row
	broken := ""
	_, err = pgx.ForEachRow(rows, []any{&row.Chain, &row.Seq, &row.TS, &row.Actor, &row.Action, &row.Subject, &row.PayloadBytes, &row.PayloadSHA256, &row.PrevHash, &row.Hash}, func() error {
		r.Counted["audit"]++
		if why := checker.Check(row); why != "" && broken != row.Chain {
			broken = row.Chain
			r.broken("audit", fmt.Sprintf("chain %s, row %d", row.Chain, row.Seq), why)
		}
		return nil
	})
	return err
}
