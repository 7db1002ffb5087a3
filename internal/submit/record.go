package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/jackc/pgx/v5"
)

// Result is an outcome on its way into the database.
type Result struct {
	Batch    event.ID
	Attempt  int
	PostedAt time.Time
	EndedAt  time.Time
	Outcome  Outcome
}

// recordOrSpool makes sure that what came back is not lost with this process: it
// tries the transaction again for a while, then writes the answer to disk.
func (d *Desk) recordOrSpool(ctx context.Context, r Result, breaker *Breaker) error {
	trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timing.RecordFor)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := d.record(trying, r, breaker)
		if err == nil || errors.Is(err, ErrMoved) {
			return err
		}
		d.log.Warn().Str("event", "batch.record_failed").Stringer("batch_id", r.Batch).Int("attempt", r.Attempt).Err(err).Send()
		select {
		case <-time.After(pause):
		case <-trying.Done():
			if spooled := d.spool.Keep(r); spooled != nil {
				return fmt.Errorf("answer of batch %s could be neither recorded (%w) nor spooled (%w): it will be asked about", r.Batch, err, spooled)
			}
			return fmt.Errorf("answer of batch %s is spooled until it can be recorded: %w", r.Batch, err)
		}
	}
}

// Locks the batch and shows what the outcome meets.
const sqlStanding = `
SELECT batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, coalesce(code, ''), items, event_ids, body, oldest, deadline,
       first_posted_at, posted_at, token
  FROM event_runtime.export_batches WHERE batch_id = @batch_id FOR UPDATE`

const sqlMove = `
UPDATE event_runtime.export_batches
   SET state = @to, code = @code, changed_at = @now, not_before = @not_before, ask_at = @ask_at, ask_probe = 0, needs_person = @needs_person,
       superseded_by = @superseded_by
 WHERE batch_id = @batch_id AND state = @from AND attempt = @attempt
RETURNING attempt`

// record moves a batch by the outcome of its attempt: attempt, receipts and the
// new state are one transaction.
func (d *Desk) record(ctx context.Context, r Result, breaker *Breaker) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		b, err := scanRow(tx.QueryRow(ctx, sqlStanding, pgx.NamedArgs{"batch_id": r.Batch}))
		if err != nil {
			return fmt.Errorf("read batch %s: %w", r.Batch, err)
		}
		// Given up, and now somebody knows after all: the process was stopped, or
		// its answer was spooled.
		late := b.state == Unconfirmed && r.Outcome.Kind != Unknown
		if b.Attempt != r.Attempt || b.state != Posting && !late {
			return ErrMoved
		}
		return d.move(ctx, tx, b, r, late, breaker)
	})
	if err == nil {
		crash.Point("after_receipt_commit")
	}
	return err
}

func (d *Desk) move(ctx context.Context, tx pgx.Tx, b *row, r Result, late bool, breaker *Breaker) error {
	o, adapter, now := r.Outcome, d.adapters[b.Ecosystem], d.now()
	step := Next(Standing{Attempt: b.Attempt, LastCode: b.lastCode, Items: b.items, CanAsk: adapter.CanAsk(b.API)}, o, d.timing)
	if err := evidence.InsertAttempt(ctx, tx, evidence.Attempt{BatchID: b.ID, Number: b.Attempt, Outcome: string(o.Kind), Code: string(o.Code),
		PostedAt: r.PostedAt, EndedAt: r.EndedAt, Answer: o.Answer, Detail: o.Detail, Late: late}); err != nil {
		return err
	}
	if o.Kind == Answered {
		if err := d.keepReceipts(ctx, tx, b, r, late); err != nil {
			return err
		}
	}
	crash.Point("in_receipt_tx")
	superseded, err := d.follow(ctx, tx, b, step)
	if err != nil {
		return err
	}
	args := pgx.NamedArgs{
		"batch_id": b.ID, "from": string(b.state), "attempt": b.Attempt, "to": string(step.To), "code": string(o.Code), "now": now,
		"not_before": nil, "ask_at": nil, "needs_person": step.Person, "superseded_by": superseded,
	}
	if step.To == Sealed && step.Wait > 0 {
		args["not_before"] = now.Add(step.Wait)
	}
	if step.To == Unconfirmed && !step.Person {
		args["ask_at"] = d.timing.firstProbe(r.PostedAt)
	}
	var attempt int
	if err := tx.QueryRow(ctx, sqlMove, args).Scan(&attempt); errors.Is(err, pgx.ErrNoRows) {
		return ErrMoved
	} else if err != nil {
		return fmt.Errorf("move batch %s to %s: %w", b.ID, step.To, err)
	}
	if breaker == nil {
		return nil // found later, not by the lane's owner
	}
	after := breaker.After(step.Effect, o.Code, now, d.timing)
	d.reportBreaker(b, *breaker, after)
	*breaker = after
	var lane time.Time
	if step.To == Sealed && o.Code == RateLimited {
		lane = now.Add(step.Wait) // the limit is the organisation's, not the batch's
	}
	return writeLane(ctx, tx, b.lane(), after, lane)
}

// keepReceipts stores one receipt an item, and puts refused items before a
// person.
func (d *Desk) keepReceipts(ctx context.Context, tx pgx.Tx, b *row, r Result, late bool) error {
	stored := make([]evidence.Stored, len(b.EventIDs))
	for i, receipt := range r.Outcome.Receipts {
		stored[i] = evidence.Stored{Position: i, EventID: b.EventIDs[i], Receipt: receipt}
		if receipt.Accepted {
			continue
		}
		class := d.adapters[b.Ecosystem].Class(receipt)
		if err := d.setAside(ctx, tx, b.lane(), b.EventIDs[i], &b.ID, "discarded_"+class); err != nil {
			return err
		}
	}
	d.metrics.received(ctx, b.Ecosystem, "response", r.Outcome.Receipts)
	return evidence.InsertReceipts(ctx, tx, evidence.Origin{BatchID: b.ID, TenantID: b.TenantID, Attempt: b.Attempt, Late: late, At: r.EndedAt}, stored)
}

// follow does what a step asks for besides the move, and says which batch took
// each item over.
func (d *Desk) follow(ctx context.Context, tx pgx.Tx, b *row, step Step) ([]*event.ID, error) {
	switch {
	case step.Split:
		half := (b.items + 1) / 2
		return d.rebatch(ctx, tx, b, "split", positions(0, half), positions(half, b.items))
	case step.Quarantine:
		return nil, d.setAside(ctx, tx, b.lane(), b.EventIDs[0], &b.ID, string(TooLarge))
	case step.To == Rejected && step.Effect == Pause:
		d.log.Error().Str("event", "batch.rejected").Stringer("batch_id", b.ID).Str("tenant_id", b.TenantID).Str("api", b.API).
			Str("hint", "the regulator refuses the request itself: mend the cause, then `event-runtime batch requeue`").Send()
	}
	return nil, nil
}

func positions(from, to int) []int {
	all := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// rebatch seals groups of a batch's items anew, each as a batch of its own with
// the very same item bytes.
func (d *Desk) rebatch(ctx context.Context, tx pgx.Tx, b *row, reason string, groups ...[]int) ([]*event.ID, error) {
	items, err := d.adapters[b.Ecosystem].Split(b.API, b.Body)
	if err != nil || len(items) != b.items {
		return nil, fmt.Errorf("split body of batch %s into %d items: %w", b.ID, b.items, err)
	}
	superseded := make([]*event.ID, b.items)
	for _, group := range groups {
		child := &draft{id: event.NewID(d.now()), lane: b.lane(), reason: reason, state: Sealed, deadline: b.deadline, oldest: b.oldest, parent: &b.ID}
		for _, at := range group {
			child.items, child.events = append(child.items, items[at]), append(child.events, b.EventIDs[at])
			superseded[at] = &child.id
		}
		if err := d.freeze(ctx, tx, child); err != nil {
			return nil, err
		}
	}
	return superseded, nil
}

func (d *Desk) reportBreaker(b *row, before, after Breaker) {
	if after.PausedUntil.After(before.PausedUntil) {
		d.log.Error().Str("event", "lane.paused").Str("tenant_id", b.TenantID).Str("api", b.API).Str("reason", after.Reason).
			Time("until", after.PausedUntil).Int("failures", after.Failures).Send()
	}
}
