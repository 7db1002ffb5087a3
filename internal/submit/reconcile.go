package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/lease"
	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"
)

// ReconcileEvery is how often doubt is looked at.
const ReconcileEvery = time.Second

// Reconcile clears up what is in doubt, for as long as ctx lasts. Giving up and
// asking is one process's job at a time; recording our own spool is everybody's.
func (d *Desk) Reconcile(ctx context.Context) error {
	limit := rate.NewLimiter(rate.Limit(d.timing.AskRate), 1)
	done := make(chan error, 1)
	go func() {
		done <- lease.Run(ctx, d.pool, lease.Job{Name: "reconcile", Owner: d.owner, TTL: d.ttl}, func(ctx context.Context, _ int64) error {
			stop, err := d.metrics.exportDoubt()
			if err != nil {
				return err
			}
			defer stop()
			return d.every(ctx, "reconcile.failed", func(ctx context.Context) error {
				return errors.Join(d.giveUp(ctx), d.AskDue(ctx, limit), d.readDoubt(ctx))
			})
		})
	}()
	err := d.every(ctx, "spool.failed", func(ctx context.Context) error {
		_, err := d.spool.drain(ctx, func(ctx context.Context, r Result) error { return d.record(ctx, r, nil) })
		return err
	})
	return errors.Join(err, <-done)
}

func (d *Desk) every(ctx context.Context, name string, do func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn().Str("event", name).Err(err).Send()
		}
		select {
		case <-ctx.Done():
		case <-time.After(ReconcileEvery):
		}
	}
	return nil
}

// Posted, and whoever posted it does not hold the lane any more.
const sqlOrphans = `
SELECT b.batch_id, b.attempt, b.posted_at
  FROM event_runtime.export_batches b LEFT JOIN event_runtime.lanes l USING (tenant_id, ecosystem, api, organisation_id)
 WHERE b.state = 'posting' AND b.post_by < @given_up
   AND NOT coalesce(l.owner = b.owner AND l.token = b.token AND l.expires_at > now(), false)
 ORDER BY b.posted_at LIMIT 100`

// giveUp turns batches whose owner is gone into unconfirmed ones. Whether the
// request ever left does not matter: it may have.
func (d *Desk) giveUp(ctx context.Context) error {
	rows, err := d.pool.Query(ctx, sqlOrphans, pgx.NamedArgs{"given_up": d.now().Add(-d.timing.GiveUpAfter)})
	if err != nil {
		return fmt.Errorf("list orphaned batches: %w", err)
	}
	orphans, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Result, error) {
		r := Result{Outcome: Outcome{Kind: Unknown, Code: OwnerLost, Detail: "the process that posted it is gone"}, EndedAt: d.now()}
		return r, row.Scan(&r.Batch, &r.Attempt, &r.PostedAt)
	})
	if err != nil {
		return fmt.Errorf("list orphaned batches: %w", err)
	}
	for _, r := range orphans {
		if err := d.record(ctx, r, nil); err != nil && !errors.Is(err, ErrMoved) {
			return fmt.Errorf("give up batch %s: %w", r.Batch, err)
		}
		d.log.Warn().Str("event", "batch.given_up").Stringer("batch_id", r.Batch).Int("attempt", r.Attempt).Send()
	}
	return nil
}
