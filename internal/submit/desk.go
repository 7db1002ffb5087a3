package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/lease"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Desk works on lanes: it seals what is due, sends it and records the answer.
// Any number of desks work side by side; the lanes table keeps them apart.
type Desk struct {
	pool     *pgxpool.Pool
	adapters map[string]Adapter // by ecosystem
	tenants  func() *tenant.Snapshot
	timing   Timing
	owner    string
	ttl      time.Duration // of leases
	now      func() time.Time
	log      zerolog.Logger
	spool    *Spool
	metrics  *metrics
}

// Deps are what a Desk is built of.
type Deps struct {
	Pool     *pgxpool.Pool
	Adapters map[string]Adapter
	Tenants  func() *tenant.Snapshot
	Timing   Timing
	Owner    string        // of leases; unique to this process
	LeaseTTL time.Duration // 0: the usual
	Now      func() time.Time
	Log      zerolog.Logger
	Spool    *Spool
}

// NewDesk starts nothing.
func NewDesk(d Deps) (*Desk, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Desk{pool: d.Pool, adapters: d.Adapters, tenants: d.Tenants, timing: d.Timing, owner: d.Owner, ttl: cmp.Or(d.LeaseTTL, lease.TTL), now: d.Now, log: d.Log,
		spool: d.Spool, metrics: m}, nil
}

// Standing lanes: what waits in them and whether they may send.
const sqlLanes = `
WITH waiting AS (
  SELECT tenant_id, ecosystem, api, organisation_id, sum(items)::int AS items, sum(bytes)::bigint AS bytes, min(oldest) AS oldest, min(deadline) AS deadline
    FROM event_runtime.lane_chunks GROUP BY tenant_id, ecosystem, api, organisation_id),
sealed AS (
  SELECT tenant_id, ecosystem, api, organisation_id, count(*)::int AS batches, min(deadline) AS deadline
    FROM event_runtime.export_batches WHERE state = 'sealed' AND (not_before IS NULL OR not_before <= @now)
   GROUP BY tenant_id, ecosystem, api, organisation_id)
SELECT tenant_id, ecosystem, api, organisation_id, coalesce(w.items, 0), coalesce(w.bytes, 0), coalesce(w.oldest, @now), least(w.deadline, s.deadline),
       coalesce(s.batches, 0), coalesce(l.failures, 0), coalesce(l.paused_until, '-infinity'::timestamptz) > @now, coalesce(l.not_before, '-infinity'::timestamptz) > @now
  FROM waiting w FULL JOIN sealed s USING (tenant_id, ecosystem, api, organisation_id)
  LEFT JOIN event_runtime.lanes l USING (tenant_id, ecosystem, api, organisation_id)`

// Lanes lists the lanes in which something waits.
func (d *Desk) Lanes(ctx context.Context) ([]flush.Lane, error) {
	now := d.now()
	rows, err := d.pool.Query(ctx, sqlLanes, pgx.NamedArgs{"now": now})
	if err != nil {
		return nil, fmt.Errorf("list lanes: %w", err)
	}
	lanes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (flush.Lane, error) {
		var l flush.Lane
		var failures int
		var paused, waits bool
		err := row.Scan(&l.TenantID, &l.Ecosystem, &l.API, &l.OrganisationID, &l.Level.Items, &l.Level.Bytes, &l.Level.Oldest, &l.Level.Deadline,
			&l.Sealed, &failures, &paused, &waits)
		l.Blocked = paused || waits
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("list lanes: %w", err)
	}
	for i := range lanes {
		lanes[i].Policy = d.policy(key(lanes[i]))
	}
	return lanes, nil
}

func key(l flush.Lane) LaneKey {
	return LaneKey{TenantID: l.TenantID, Ecosystem: l.Ecosystem, API: l.API, OrganisationID: l.OrganisationID}
}

// policy is how a lane flushes, bounded by what its regulator takes. A tenant
// that is not active, or configured wrongly, is held: nothing is lost, and the
// age of the lane alerts.
func (d *Desk) policy(k LaneKey) flush.Policy {
	snapshot := d.tenants()
	p, err := flush.FromConfig(snapshot.Config(k.TenantID, k.Ecosystem, k.API))
	if t, ok := snapshot.Tenant(k.TenantID); !ok || t.State != tenant.Active || err != nil {
		p.Held = true
	}
	adapter, ok := d.adapters[k.Ecosystem]
	if !ok {
		p.Held = true
		return p
	}
	items, bytes := adapter.Limits(k.API)
	if items == 0 { // a lane of a newer release: it stays until that one is back
		p.Held = true
		return p
	}
	p.MaxItems, p.MaxBytes = min(p.MaxItems, items), min(p.MaxBytes, int64(bytes))
	p.Drain = snapshot.Drain()
	return p
}

// Work claims a lane and sends from it until nothing more is due. A lane that
// somebody else works on is left alone.
func (d *Desk) Work(ctx context.Context, l flush.Lane) (sent int, err error) {
	c, err := d.claim(ctx, key(l))
	if errors.Is(err, ErrMoved) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	held, lost := context.WithCancel(ctx)
	defer lost()
	go lease.Keep(held, lost, c.ttl, c.renew)
	defer c.release(context.WithoutCancel(ctx))
	for held.Err() == nil {
		more, err := d.step(held, c)
		if errors.Is(err, ErrMoved) || held.Err() != nil {
			break
		}
		if err != nil || !more {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// step sends one batch: one that is sealed already, or what is due. It reports
// whether it sent one.
func (d *Desk) step(ctx context.Context, c *claim) (sent bool, err error) {
	policy := d.policy(c.key)
	if policy.Held {
		return false, nil // what is sealed stays sealed
	}
	breaker, notBefore, err := c.breaker(ctx)
	if err != nil {
		return false, err
	}
	items, wait := breaker.Gate(d.now(), policy.MaxItems, d.timing)
	if wait > 0 || d.now().Before(notBefore) {
		return false, nil
	}
	b, err := d.nextSealed(ctx, c.key)
	if err != nil {
		return false, err
	}
	if b == nil {
		policy.MaxItems = items
		if b, err = d.seal(ctx, c, policy); err != nil || b == nil {
			return false, err
		}
	}
	return true, d.post(ctx, c, b, breaker)
}
