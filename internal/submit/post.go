package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/jackc/pgx/v5"
)

// The marker. It is on disk before a byte leaves, whatever the session's
// setting; after a promotion its system, timeline and position say whether the
// database that has it is the one that wrote it.
const sqlMarker = `
UPDATE event_runtime.export_batches b
   SET state = 'posting', attempt = attempt + 1, owner = @owner, token = @token, posted_at = @now, first_posted_at = coalesce(first_posted_at, @now),
       post_by = @post_by, changed_at = @now, not_before = NULL, system_id = c.system_identifier::text, timeline = p.timeline_id, lsn = pg_current_wal_insert_lsn()
  FROM pg_control_system() c, pg_control_checkpoint() p
 WHERE batch_id = @batch_id AND state = 'sealed' AND attempt = @attempt
RETURNING attempt`

// post sends b once and records what became of it.
func (d *Desk) post(ctx context.Context, c *claim, b *row, breaker Breaker) error {
	crash.Point("before_marker")
	began := d.now()
	if err := d.mark(ctx, c, b, began); err != nil {
		return err
	}
	crash.Point("after_marker_before_dial")
	// From here on our own shutdown must not turn an answer into a doubt: the
	// exchange ends by its own deadlines.
	exchange, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timing.PostWithin+d.timing.Exchange)
	o := d.adapters[b.Ecosystem].Submit(exchange, b.Batch)
	cancel()
	ended := d.now()
	crash.Point("after_body_before_receipt_tx")
	d.metrics.attempted(ctx, b, o, ended.Sub(began))
	err := d.recordOrSpool(ctx, Result{Batch: b.ID, Attempt: b.Attempt, PostedAt: began, EndedAt: ended, Outcome: o}, &breaker)
	d.log.Info().Str("event", "batch.posted").Stringer("batch_id", b.ID).Str("tenant_id", b.TenantID).Str("api", b.API).Int("attempt", b.Attempt).
		Int("items", b.items).Str("outcome", string(o.Kind)).Str("code", string(o.Code)).Int("status", o.Answer.Status).Dur("took", ended.Sub(began)).
		Str("detail", o.Detail).Err(err).Send()
	return err
}

func (d *Desk) mark(ctx context.Context, c *claim, b *row, now time.Time) error {
	b.PostBy = now.Add(d.timing.PostWithin)
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		if err := c.hold(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sqlMarker, pgx.NamedArgs{
			"batch_id": b.ID, "attempt": b.Attempt, "owner": c.owner, "token": c.token, "now": now, "post_by": b.PostBy,
		}).Scan(&b.Attempt)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrMoved
	}
	if err != nil && !errors.Is(err, ErrMoved) {
		// The commit may have happened. Then the marker stands, nobody posts, and
		// the batch is given up and asked about like any other.
		return fmt.Errorf("commit marker of batch %s: %w", b.ID, err)
	}
	b.posted = &now
	return err
}
