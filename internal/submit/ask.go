package submit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"
)

// inquest is one round of asking about one batch.
type inquest struct {
	row
	probe  int   // this round, from 1
	asked  []int // positions of this round
	found  map[int]Found
	before map[int][]FoundKind // what earlier rounds said
	window Case                // the attempt's times
	ctl    Control
	hasCtl bool
}

// last reports the last round of the schedule, or one beyond it.
func (q *inquest) last(t Timing) bool { return q.probe >= len(t.Probes) }

const sqlDueToAsk = `SELECT batch_id FROM event_runtime.export_batches WHERE ask_at <= @now ORDER BY ask_at LIMIT 20`

// AskDue makes every round of asking that is due. One process does it at a
// time: the regulator counts our questions.
func (d *Desk) AskDue(ctx context.Context, limit *rate.Limiter) error {
	rows, err := d.pool.Query(ctx, sqlDueToAsk, pgx.NamedArgs{"now": d.now()})
	if err != nil {
		return fmt.Errorf("list batches to ask about: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[event.ID])
	if err != nil {
		return fmt.Errorf("list batches to ask about: %w", err)
	}
	for _, id := range due {
		if err := d.ask(ctx, id, limit); err != nil && !errors.Is(err, ErrMoved) {
			return fmt.Errorf("ask about batch %s: %w", id, err)
		}
	}
	return nil
}

func (d *Desk) ask(ctx context.Context, id event.ID, limit *rate.Limiter) error {
	q, err := d.open(ctx, id)
	if err != nil {
		return err
	}
	adapter := d.adapters[q.Ecosystem]
	items, err := adapter.Split(q.API, q.Body)
	if err != nil {
		return err
	}
	for _, at := range q.asked {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		q.found[at] = adapter.Ask(ctx, Question{TenantID: q.TenantID, API: q.API, OrganisationID: q.OrganisationID, Item: items[at]})
		d.metrics.asked(ctx, q.Ecosystem, q.found[at].Kind)
	}
	if q.last(d.timing) && q.state == Unconfirmed {
		if err := d.control(ctx, q, limit); err != nil {
			return err
		}
	}
	crash.Point("after_lookup_before_receipt_tx")
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return d.conclude(ctx, tx, q) })
}

const sqlAskState = `
SELECT ask_probe, coalesce(a.posted_at, b.posted_at), least(coalesce(a.ended_at, 'infinity'), b.posted_at + @longest::interval),
       coalesce(a.server_date - a.ended_at, '0'::interval), a.server_date IS NOT NULL
  FROM event_runtime.export_batches b LEFT JOIN event_runtime.submission_attempts a ON a.batch_id = b.batch_id AND a.attempt = b.attempt AND NOT a.late
 WHERE b.batch_id = @batch_id`

const sqlAnswersBefore = `
SELECT position, answer FROM event_runtime.submission_inquiries WHERE batch_id = @batch_id AND attempt = @attempt AND position >= 0 ORDER BY probe`

// What was found, but could be the counterparty's: asked until it is paired.
const sqlPresumed = `
SELECT position FROM event_runtime.submission_receipts WHERE batch_id = @batch_id
 GROUP BY position HAVING bool_and(side = 'unknown') AND bool_and(paired_id IS NULL) ORDER BY position`

// open reads what a round needs and decides which items it asks about.
func (d *Desk) open(ctx context.Context, id event.ID) (*inquest, error) {
	b, err := scanRow(d.pool.QueryRow(ctx, sqlUnlocked, pgx.NamedArgs{"batch_id": id}))
	if err != nil {
		return nil, err
	}
	q := &inquest{row: *b, found: map[int]Found{}, before: map[int][]FoundKind{}}
	var skew, blur time.Duration
	var dated bool
	longest := d.timing.PostWithin + d.timing.Exchange
	if err := d.pool.QueryRow(ctx, sqlAskState, pgx.NamedArgs{"batch_id": id, "longest": longest}).Scan(&q.probe, &q.window.From, &q.window.To, &skew, &dated); err != nil {
		return nil, err
	}
	if dated {
		blur = time.Second // a Date header has whole seconds
	}
	q.probe++
	q.window.First = *q.first
	q.window.From, q.window.To = q.window.From.Add(skew-d.timing.Skew), q.window.To.Add(skew+blur+d.timing.Skew)
	if err := d.history(ctx, q); err != nil {
		return nil, err
	}
	all := positions(0, q.items)
	switch {
	case q.state != Unconfirmed:
		rows, err := d.pool.Query(ctx, sqlPresumed, pgx.NamedArgs{"batch_id": id})
		if err != nil {
			return nil, err
		}
		q.asked, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return q, err
	case q.last(d.timing):
		q.asked = all
	default:
		q.asked = sample(all, d.timing.Sample)
	}
	return q, nil
}

const sqlUnlocked = `
SELECT batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, coalesce(code, ''), items, event_ids, body, oldest, deadline,
       first_posted_at, posted_at, token
  FROM event_runtime.export_batches WHERE batch_id = @batch_id`

func (d *Desk) history(ctx context.Context, q *inquest) error {
	rows, err := d.pool.Query(ctx, sqlAnswersBefore, pgx.NamedArgs{"batch_id": q.ID, "attempt": q.Attempt})
	if err != nil {
		return err
	}
	var at int
	var kind FoundKind
	_, err = pgx.ForEachRow(rows, []any{&at, &kind}, func() error {
		q.before[at] = append(q.before[at], kind)
		return nil
	})
	return err
}

// A batch of any tenant that the regulator accepted after this attempt began:
// the oldest of them has had the most time to show.
const sqlControl = `
SELECT batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, coalesce(code, ''), items, event_ids, body, oldest, deadline,
       first_posted_at, posted_at, token
  FROM event_runtime.export_batches
 WHERE ecosystem = @ecosystem AND api = @api AND state IN ('submitted', 'partially_accepted') AND code = 'receipts' AND posted_at >= @after
 ORDER BY posted_at LIMIT 1`

const sqlControlItem = `
SELECT position FROM event_runtime.submission_receipts
 WHERE batch_id = @batch_id AND attempt = @attempt AND accepted AND source = 'response' ORDER BY position LIMIT 1`

// control asks about a report that must be there by now. Without one, an
// absence proves nothing.
func (d *Desk) control(ctx context.Context, q *inquest, limit *rate.Limiter) error {
	b, err := scanRow(d.pool.QueryRow(ctx, sqlControl, pgx.NamedArgs{"ecosystem": q.Ecosystem, "api": q.API, "after": *q.posted}))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find a control: %w", err)
	}
	var at int
	err = d.pool.QueryRow(ctx, sqlControlItem, pgx.NamedArgs{"batch_id": b.ID, "attempt": b.Attempt}).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find a control: %w", err)
	}
	items, err := d.adapters[b.Ecosystem].Split(b.API, b.Body)
	if err != nil {
		return err
	}
	if err := limit.Wait(ctx); err != nil {
		return err
	}
	f := d.adapters[b.Ecosystem].Ask(ctx, Question{TenantID: b.TenantID, API: b.API, OrganisationID: b.OrganisationID, Item: items[at]})
	q.found[-1], q.hasCtl = f, true
	q.ctl = Control{Visible: f.Kind == Hit, Settled: f.Settled}
	return nil
}

const sqlAfterRound = `
UPDATE event_runtime.export_batches
   SET state = @to, ask_probe = @probe, ask_at = @ask_at, needs_person = needs_person OR @person, changed_at = @now, superseded_by = coalesce(@superseded_by, superseded_by),
       not_before = NULL
 WHERE batch_id = @batch_id AND state = @from AND attempt = @attempt AND ask_probe = @probe - 1
RETURNING attempt`

// conclude stores the answers of a round and moves the batch by what they prove.
func (d *Desk) conclude(ctx context.Context, tx pgx.Tx, q *inquest) error {
	now := d.now()
	for at, f := range q.found {
		id := q.ID // the control's event is in its own batch
		if at >= 0 {
			id = q.EventIDs[at]
		}
		if err := evidence.InsertInquiry(ctx, tx, q.ID, q.Attempt, q.probe, evidence.Inquiry{Position: at, EventID: id, AskedAt: now, Kind: string(f.Kind), Answer: f.Answer}); err != nil {
			return err
		}
	}
	verdicts := make([]Verdict, 0, q.items)
	settled := map[int]bool{}
	for _, at := range d.judged(q) {
		v := Conclude(q.caseOf(at, d.timing))
		verdicts = append(verdicts, v)
		settled[at] = v == Stored || v == Presumed
	}
	slack, final := q.deadline.Sub(now), q.oldest.Add(d.adapters[q.Ecosystem].MaxAge(q.API)).Sub(now)
	ruling := Rule(verdicts, q.probe, q.ctl.Visible, slack, final, d.timing)
	if q.state != Unconfirmed {
		return d.followUp(ctx, tx, q, settled, final)
	}
	if ruling.To == Submitted {
		if err := d.keepFound(ctx, tx, q, settled, now); err != nil {
			return err
		}
	}
	var superseded []*event.ID
	if len(ruling.Resubmit) > 0 {
		var err error
		if superseded, err = d.rebatch(ctx, tx, &q.row, "proven_absent", ruling.Resubmit); err != nil {
			return err
		}
	}
	if ruling.To == Sealed || len(ruling.Resubmit) > 0 {
		if err := d.ledger(ctx, tx, q, ruling, now); err != nil {
			return err
		}
	}
	d.log.Info().Str("event", "batch.asked").Stringer("batch_id", q.ID).Str("tenant_id", q.TenantID).Int("probe", q.probe).Int("asked", len(q.asked)).
		Bool("control", q.ctl.Visible).Str("to", string(ruling.To)).Int("resubmit", len(ruling.Resubmit)).Bool("person", ruling.Person).Send()
	return afterRound(ctx, tx, q, ruling, superseded, now)
}

func afterRound(ctx context.Context, tx pgx.Tx, q *inquest, r Ruling, superseded []*event.ID, now time.Time) error {
	args := pgx.NamedArgs{"batch_id": q.ID, "from": string(q.state), "attempt": q.Attempt, "probe": q.probe, "to": string(r.To), "ask_at": nil, "person": r.Person,
		"now": now, "superseded_by": superseded}
	if r.Again > 0 {
		args["ask_at"] = now.Add(r.Again)
	}
	var attempt int
	err := tx.QueryRow(ctx, sqlAfterRound, args).Scan(&attempt)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrMoved
	}
	return err
}

// judged are the positions a ruling is about: all of an unconfirmed batch, or
// those of a submitted one that could still be the counterparty's.
func (d *Desk) judged(q *inquest) []int {
	if q.state == Unconfirmed {
		return positions(0, q.items)
	}
	return q.asked
}

func (q *inquest) caseOf(at int, t Timing) Case {
	c := q.window
	c.Last, c.Control = q.last(t), q.ctl
	for _, kind := range q.before[at] {
		c.Answers = append(c.Answers, Found{Kind: kind})
	}
	if f, ok := q.found[at]; ok {
		c.Answers = append(c.Answers, f)
	} else {
		c.Answers = nil // not asked in this round: nothing new is proven
	}
	return c
}

// keepFound turns hits into receipts.
func (d *Desk) keepFound(ctx context.Context, tx pgx.Tx, q *inquest, settled map[int]bool, now time.Time) error {
	var stored []evidence.Stored
	for _, at := range slices.Sorted(maps.Keys(settled)) {
		if !settled[at] {
			continue
		}
		f := q.found[at]
		stored = append(stored, evidence.Stored{Position: at, EventID: q.EventIDs[at], Receipt: evidence.Receipt{
			Status: f.Status, Accepted: !f.Discarded, ReportID: f.ReportID, PairedID: f.PairedID, Unknown: !f.Ours}})
	}
	d.metrics.found(ctx, q.Ecosystem, len(stored))
	return evidence.InsertReceipts(ctx, tx, evidence.Origin{BatchID: q.ID, TenantID: q.TenantID, Attempt: q.Attempt, Probe: q.probe, At: now}, stored)
}

// followUp asks again about what was presumed, until it is paired; one day
// before the regulator refuses for age it goes to a person.
func (d *Desk) followUp(ctx context.Context, tx pgx.Tx, q *inquest, settled map[int]bool, final time.Duration) error {
	now, open, proven := d.now(), 0, map[int]bool{}
	for _, at := range q.asked {
		proven[at] = settled[at] && (q.found[at].Paired || q.found[at].Ours)
		if proven[at] {
			continue
		}
		open++
		if final < 24*time.Hour {
			if err := d.setAside(ctx, tx, q.lane(), q.EventIDs[at], &q.ID, "presumed_unpaired"); err != nil {
				return err
			}
		}
	}
	if err := d.keepFound(ctx, tx, q, proven, now); err != nil {
		return err
	}
	r := Ruling{To: q.state}
	if open > 0 && final >= 24*time.Hour {
		r.Again = d.timing.AskAgain
	}
	return afterRound(ctx, tx, q, r, nil, now)
}

// ledger records that something will be sent again, and on what proof.
func (d *Desk) ledger(ctx context.Context, tx pgx.Tx, q *inquest, r Ruling, now time.Time) error {
	resent := q.items
	if len(r.Resubmit) > 0 {
		resent = len(r.Resubmit)
	}
	return audit.Append(ctx, tx, now, audit.Change{Chain: q.TenantID, Actor: "runtime:" + d.owner, Action: "batch.proven_absent", Subject: q.ID.String(), Payload: map[string]any{
		"attempt": q.Attempt, "probes": q.probe, "items": q.items, "resent": resent, "control_report_id": q.found[-1].ReportID.String(),
	}})
}
