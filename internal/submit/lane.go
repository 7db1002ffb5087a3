package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// claim is the lease on one lane. Its token goes into every write about it.
type claim struct {
	pool  *pgxpool.Pool
	key   LaneKey
	owner string
	ttl   time.Duration
	token int64
}

func (c *claim) args(more pgx.NamedArgs) pgx.NamedArgs {
	args := pgx.NamedArgs{
		"tenant_id": c.key.TenantID, "ecosystem": c.key.Ecosystem, "api": c.key.API, "organisation_id": c.key.OrganisationID,
		"owner": c.owner, "token": c.token, "ttl": c.ttl,
	}
	for name, value := range more {
		args[name] = value
	}
	return args
}

const sqlMakeLane = `
INSERT INTO event_runtime.lanes (tenant_id, ecosystem, api, organisation_id)
VALUES (@tenant_id, @ecosystem, @api, @organisation_id) ON CONFLICT DO NOTHING`

// The only place that waits for nobody: a lane that somebody looks at is taken.
const sqlClaim = `
WITH free AS (
  SELECT tenant_id, ecosystem, api, organisation_id FROM event_runtime.lanes
   WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id AND expires_at < now()
     FOR UPDATE SKIP LOCKED)
UPDATE event_runtime.lanes l SET owner = @owner, token = l.token + 1, expires_at = now() + @ttl::interval
  FROM free f
 WHERE (l.tenant_id, l.ecosystem, l.api, l.organisation_id) = (f.tenant_id, f.ecosystem, f.api, f.organisation_id)
RETURNING l.token`

const sqlRenewLane = `
UPDATE event_runtime.lanes SET expires_at = now() + @ttl::interval
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id
   AND owner = @owner AND token = @token AND expires_at > now()
RETURNING token`

const sqlReleaseLane = `
UPDATE event_runtime.lanes SET expires_at = '-infinity'
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id AND owner = @owner AND token = @token`

const sqlReadLane = `
SELECT failures, paused_until, coalesce(pause_reason, ''), not_before FROM event_runtime.lanes
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id AND owner = @owner AND token = @token`

// Holding the row for the rest of the transaction keeps the lane ours until it
// has committed.
const sqlHoldLane = `
SELECT token FROM event_runtime.lanes
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id
   AND owner = @owner AND token = @token AND expires_at > now()
   FOR UPDATE`

const sqlWriteLane = `
UPDATE event_runtime.lanes SET failures = @failures, paused_until = @paused_until, pause_reason = nullif(@pause_reason, ''), not_before = @not_before
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id`

func (d *Desk) claim(ctx context.Context, k LaneKey) (*claim, error) {
	c := &claim{pool: d.pool, key: k, owner: d.owner, ttl: d.ttl}
	for try := range 2 {
		err := d.pool.QueryRow(ctx, sqlClaim, c.args(nil)).Scan(&c.token)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("claim lane %s/%s: %w", k.TenantID, k.API, err)
		}
		if try > 0 {
			break
		}
		tag, err := d.pool.Exec(ctx, sqlMakeLane, c.args(nil))
		if err != nil {
			return nil, fmt.Errorf("make lane %s/%s: %w", k.TenantID, k.API, err)
		}
		if tag.RowsAffected() == 0 {
			break // it exists and is taken
		}
	}
	return nil, ErrMoved
}

func (c *claim) renew(ctx context.Context) error {
	var token int64
	return c.pool.QueryRow(ctx, sqlRenewLane, c.args(nil)).Scan(&token)
}

// release lets the next worker in at once; without it the lease expires.
func (c *claim) release(ctx context.Context) {
	last, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = c.pool.Exec(last, sqlReleaseLane, c.args(nil))
}

// breaker reads what the lane has been through.
func (c *claim) breaker(ctx context.Context) (b Breaker, notBefore time.Time, err error) {
	var paused, wait *time.Time
	err = c.pool.QueryRow(ctx, sqlReadLane, c.args(nil)).Scan(&b.Failures, &paused, &b.Reason, &wait)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, notBefore, ErrMoved
	}
	if err != nil {
		return b, notBefore, fmt.Errorf("read lane: %w", err)
	}
	if paused != nil {
		b.PausedUntil = *paused
	}
	if wait != nil {
		notBefore = *wait
	}
	return b, notBefore, nil
}

// hold makes sure, inside tx, that the lane is still ours.
func (c *claim) hold(ctx context.Context, tx pgx.Tx) error {
	var token int64
	err := tx.QueryRow(ctx, sqlHoldLane, c.args(nil)).Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrMoved
	}
	return err
}

// writeLane stores the breaker. It is guarded by the batch's compare-and-set in
// the same transaction.
func writeLane(ctx context.Context, tx pgx.Tx, k LaneKey, b Breaker, notBefore time.Time) error {
	var paused, wait *time.Time
	if !b.PausedUntil.IsZero() {
		paused = &b.PausedUntil
	}
	if !notBefore.IsZero() {
		wait = &notBefore
	}
	_, err := tx.Exec(ctx, sqlWriteLane, pgx.NamedArgs{
		"tenant_id": k.TenantID, "ecosystem": k.Ecosystem, "api": k.API, "organisation_id": k.OrganisationID,
		"failures": b.Failures, "paused_until": paused, "pause_reason": b.Reason, "not_before": wait,
	})
	return err
}
