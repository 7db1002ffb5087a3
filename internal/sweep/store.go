package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// samplesKept bounds the samples: a relay that is further behind has its own
// alert, and nothing is swept behind its back.
const samplesKept = day

// The sample's own id is the newest: whoever wrote before it has a lower one. The
// end of the snapshot would be too low, for it passes over who is still writing.
const sqlSample = `
INSERT INTO event_runtime.sweep_samples (taken_at, lsn, next_xid, oldest_xid, slot_active)
SELECT @now, pg_current_wal_insert_lsn(), pg_current_xact_id(), pg_snapshot_xmin(pg_current_snapshot()),
       coalesce((SELECT active FROM pg_replication_slots WHERE slot_name = @slot), false)
ON CONFLICT DO NOTHING`

const sqlForget = `DELETE FROM event_runtime.sweep_samples WHERE taken_at < @before`

const sqlSamples = `
SELECT taken_at, (lsn - '0/0'::pg_lsn)::bigint, next_xid::text::bigint, oldest_xid::text::bigint, slot_active
  FROM event_runtime.sweep_samples WHERE taken_at <= @now ORDER BY taken_at`

// One that is lost will carry nothing any more, one that is being made nothing of
// what was there before: neither is a place where an event may still be.
const sqlSlot = `
SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots
 WHERE slot_name = @slot AND confirmed_flush_lsn IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'`

// sample takes one, and gives all that are kept with the slot as it is after.
func (s *Sweeper) sample(ctx context.Context, now time.Time) (samples []Sample, slot Slot, err error) {
	args := pgx.NamedArgs{"now": now, "slot": s.Slot, "before": now.Add(-samplesKept)}
	for _, sql := range []string{sqlSample, sqlForget} {
		if _, err := s.Pool.Exec(ctx, sql, args); err != nil {
			return nil, slot, fmt.Errorf("take a sample: %w", err)
		}
	}
	rows, err := s.Pool.Query(ctx, sqlSamples, args)
	if err != nil {
		return nil, slot, fmt.Errorf("read samples: %w", err)
	}
	samples, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (o Sample, err error) {
		return o, row.Scan(&o.At, &o.LSN, &o.NextXID, &o.OldestXID, &o.Active)
	})
	if err != nil {
		return nil, slot, fmt.Errorf("read samples: %w", err)
	}
	err = s.Pool.QueryRow(ctx, sqlSlot, args).Scan(&slot.Confirmed)
	slot.Exists = err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, slot, fmt.Errorf("look at the slot: %w", err)
	}
	return samples, slot, nil
}

// A consumer begins where it was first entitled; one that is entitled to nothing
// yet has no mark.
const sqlMark = `
INSERT INTO event_runtime.sweep_marks AS m (consumer, stream, swept_until)
SELECT @consumer, @stream, event_runtime.event_time(since) FROM event_runtime.entitlements
 WHERE consumer = @consumer AND family = any(@families) ORDER BY since LIMIT 1
ON CONFLICT (consumer, stream) DO UPDATE SET swept_until = m.swept_until
RETURNING swept_until`

const sqlAdvance = `
UPDATE event_runtime.sweep_marks SET swept_until = greatest(swept_until, @until) WHERE consumer = @consumer AND stream = @stream
RETURNING swept_until`

const sqlWholeIsDue = `
SELECT coalesce(whole_at <= @before, true) FROM event_runtime.sweep_marks WHERE consumer = @consumer AND stream = @stream`

const sqlWholeDone = `UPDATE event_runtime.sweep_marks SET whole_at = @now WHERE consumer = @consumer AND stream = @stream`

func (d durable) args() pgx.NamedArgs {
	return pgx.NamedArgs{"consumer": d.consumer, "stream": d.stream, "families": d.families}
}

func (s *Sweeper) mark(ctx context.Context, d durable) (until time.Time, err error) {
	if err = s.Pool.QueryRow(ctx, sqlMark, d.args()).Scan(&until); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return until, fmt.Errorf("read mark: %w", err)
	}
	return until.UTC(), nil
}

func (s *Sweeper) advance(ctx context.Context, d durable, to time.Time) (until time.Time, err error) {
	args := d.args()
	args["until"] = to
	err = s.hold(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlAdvance, args).Scan(&until) })
	if err != nil {
		return until, fmt.Errorf("advance mark: %w", err)
	}
	return until.UTC(), nil
}

// hold writes while nobody else sweeps.
func (s *Sweeper) hold(ctx context.Context, write func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if err := s.Hold(ctx, tx); err != nil {
			return err
		}
		return write(tx)
	})
}

func (s *Sweeper) wholeIsDue(ctx context.Context, d durable, now time.Time) (due bool, err error) {
	args := d.args()
	args["before"] = now.Add(-s.cfg.Whole)
	if err = s.Pool.QueryRow(ctx, sqlWholeIsDue, args).Scan(&due); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("read mark: %w", err)
	}
	return due, nil
}

func (s *Sweeper) wholeDone(ctx context.Context, d durable, now time.Time) error {
	args := d.args()
	args["now"] = now
	err := s.hold(ctx, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sqlWholeDone, args); return err })
	if err != nil {
		return fmt.Errorf("keep mark: %w", err)
	}
	return nil
}

// The next tenant, from index entry to index entry: a day has many rows and few
// tenants.
const sqlTenants = `
WITH RECURSIVE t AS (
  (SELECT tenant_id FROM event_runtime.outbox WHERE recorded_on = @day ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT o.tenant_id FROM event_runtime.outbox o WHERE o.recorded_on = @day AND o.tenant_id > t.tenant_id ORDER BY o.tenant_id LIMIT 1)
    FROM t WHERE t.tenant_id IS NOT NULL)
SELECT tenant_id FROM t WHERE tenant_id IS NOT NULL`

// One page of a tenant's day, held against the rows of a consumer. What is in
// quarantine has its place; what was set aside before it could be published can
// reach nobody. A conflict is no place of its own: its event has a row.
const sqlFind = `
WITH page AS MATERIALIZED (
  SELECT event_id, ecosystem, event_type, recorded_at FROM event_runtime.outbox
   WHERE tenant_id = @tenant AND recorded_on = @day AND event_id > @after AND event_id < @until ORDER BY event_id LIMIT @page),
missing AS (
  INSERT INTO event_runtime.sweep_owed (consumer, stream, tenant_id, recorded_on, event_id, recorded_at, found_at)
  SELECT @consumer, @stream, @tenant, @day, p.event_id, p.recorded_at, @now FROM page p
   WHERE EXISTS (SELECT FROM event_runtime.entitlements e WHERE e.consumer = @consumer AND e.family = any(@families) AND e.ecosystem = p.ecosystem
                    AND starts_with(p.event_type, e.family || '.') AND p.event_id >= e.since)
     AND NOT EXISTS (SELECT FROM event_runtime.consumer_idempotency k
                      WHERE k.tenant_id = @tenant AND k.recorded_on = @day AND k.event_id = p.event_id AND k.consumer = @consumer)
     AND NOT EXISTS (SELECT FROM event_runtime.quarantine q
                      WHERE q.event_id = p.event_id AND q.tenant_id = @tenant AND q.stage = 'ingest' AND q.consumer IN (@consumer, 'relay') AND q.resolution IS DISTINCT FROM 'requeued')
  ON CONFLICT DO NOTHING)
SELECT count(*), (array_agg(event_id ORDER BY event_id DESC))[1] FROM page`

// pageSize is how many rows of the outbox one statement reads.
const pageSize = 2000

// find remembers what is missing in one window.
func (s *Sweeper) find(ctx context.Context, d durable, w window, now time.Time) error {
	args := d.args()
	args["day"], args["now"], args["page"], args["until"] = w.from.Truncate(day), now, pageSize, firstID(w.to)
	rows, err := s.Pool.Query(ctx, sqlTenants, args)
	if err != nil {
		return fmt.Errorf("list tenants: %w", err)
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list tenants: %w", err)
	}
	for _, tenant := range tenants {
		args["tenant"] = tenant
		for after, n := new(firstID(w.from)), pageSize; n == pageSize; {
			args["after"] = *after
			if err := s.Pool.QueryRow(ctx, sqlFind, args).Scan(&n, &after); err != nil {
				return fmt.Errorf("find missing rows: %w", err)
			}
		}
	}
	return nil
}

// firstID is the lowest id of a millisecond.
func firstID(at time.Time) event.ID {
	id := event.NewID(at)
	clear(id[6:])
	id[6], id[8] = 0x70, 0x80
	return id
}
