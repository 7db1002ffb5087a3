package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/books"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

const sqlPages = `
SELECT DISTINCT e.consumer, e.ecosystem, p.day FROM event_runtime.entitlements e, event_runtime.partition_days p
 WHERE p.parent = 'outbox' AND (@day::date IS NULL OR p.day = @day) ORDER BY p.day, e.consumer`

// Everything that is known about each event of one day at one consumer. An id
// says something within its tenant only: what somebody else claims about it
// changes nothing. What the relay set aside can reach no consumer. The lanes of an
// ecosystem, and what was sent from them, are its reporting consumer's alone.
const sqlEntries = `
SELECT event_id, bool_or(place = 'outbox'), coalesce(bool_or(entitled), false), coalesce(max(recorded_at) > @young_after, false),
       (count(*) FILTER (WHERE place = 'row'))::int, coalesce(max(outcome), ''), (count(*) FILTER (WHERE place = 'quarantine'))::int,
       (count(*) FILTER (WHERE place = 'chunk'))::int, (count(*) FILTER (WHERE place = 'batch'))::int, (count(*) FILTER (WHERE place = 'set_aside'))::int
  FROM (
    SELECT tenant_id, event_id, 'outbox' AS place, NULL AS outcome, recorded_at,
           EXISTS (SELECT FROM event_runtime.entitlements e WHERE e.consumer = @consumer AND e.ecosystem = o.ecosystem
                      AND starts_with(o.event_type, e.family || '.') AND o.event_id >= e.since) AS entitled
      FROM event_runtime.outbox o WHERE recorded_on = @day AND ecosystem = @ecosystem
    UNION ALL
    SELECT tenant_id, event_id, 'row', outcome, NULL, NULL FROM event_runtime.consumer_outcomes WHERE recorded_on = @day AND consumer = @consumer
    UNION ALL
    SELECT coalesce(tenant_id, ''), event_id, 'quarantine', NULL, NULL, NULL FROM event_runtime.quarantine
     WHERE stage = 'ingest' AND consumer IN (@consumer, 'relay') AND recorded_on = @day AND event_id IS NOT NULL AND resolution IS DISTINCT FROM 'requeued'
    UNION ALL
    SELECT tenant_id, id, 'chunk', NULL, NULL, NULL FROM event_runtime.lane_chunks, unnest(event_ids) AS id
     WHERE @consumer = 'pcm-' || ecosystem AND ecosystem = @ecosystem AND event_runtime.event_day(id) = @day
    UNION ALL
    SELECT b.tenant_id, i.id, 'batch', NULL, NULL, NULL
      FROM event_runtime.export_batches b, unnest(b.event_ids, coalesce(b.superseded_by, array_fill(NULL::uuid, array[b.items]))) AS i(id, taken_by)
     WHERE @consumer = 'pcm-' || b.ecosystem AND b.ecosystem = @ecosystem AND b.sealed_at >= @day::timestamptz - interval '1 hour' AND i.taken_by IS NULL AND event_runtime.event_day(i.id) = @day
    UNION ALL
    SELECT coalesce(tenant_id, ''), event_id, 'set_aside', NULL, NULL, NULL FROM event_runtime.quarantine
     WHERE stage = 'submit' AND consumer = @consumer AND recorded_on = @day AND batch_id IS NULL AND resolution IS DISTINCT FROM 'requeued'
  ) AS known
 GROUP BY tenant_id, event_id`

// events judges every event of every day at every consumer.
func (r *Report) events(ctx context.Context, tx pgx.Tx, opt Options) error {
	type page struct {
		consumer, ecosystem string
		day                 time.Time
	}
	rows, err := tx.Query(ctx, sqlPages, pgx.NamedArgs{"day": opt.day})
	if err != nil {
		return err
	}
	pages, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p page, err error) {
		return p, row.Scan(&p.consumer, &p.ecosystem, &p.day)
	})
	if err != nil {
		return err
	}
	youngAfter := time.Now().Add(-opt.Grace)
	if opt.Grace == 0 {
		youngAfter = time.Now().Add(24 * time.Hour) // nothing is young
	}
	for n, p := range pages {
		opt.Progress("events", n, len(pages))
		rows, err := tx.Query(ctx, sqlEntries, pgx.NamedArgs{"consumer": p.consumer, "ecosystem": p.ecosystem, "day": p.day, "young_after": youngAfter})
		if err != nil {
			return err
		}
		var id event.ID
		var e books.Entry
		_, err = pgx.ForEachRow(rows, []any{&id, &e.InOutbox, &e.Entitled, &e.Young, &e.Rows, &e.Outcome, &e.Quarantined, &e.Chunks, &e.Batches, &e.SetAside}, func() error {
			r.Counted["events"]++
			difference, pending := books.Judge(e)
			if pending {
				r.Pending++
			}
			if difference != nil {
				r.broken(string(difference.Equation), fmt.Sprintf("event %s at %s", id, p.consumer), difference.Detail)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Two accepted events with one report key would be one report twice.
const sqlKeys = `
SELECT interaction_id, role, organisation_id, count(*) FROM event_runtime.consumer_outcomes
 WHERE interaction_id IS NOT NULL AND outcome = 'accepted'
 GROUP BY interaction_id, role, organisation_id, tenant_id HAVING count(*) > 1 LIMIT 100`

func (r *Report) keys(ctx context.Context, tx pgx.Tx, _ Options) error {
	rows, err := tx.Query(ctx, sqlKeys)
	if err != nil {
		return err
	}
	var interaction, organisation event.ID
	var role string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&interaction, &role, &organisation, &n}, func() error {
		r.broken("report_key", fmt.Sprintf("interaction %s, %s of %s", interaction, role, organisation), fmt.Sprintf("%d accepted events have this report key", n))
		return nil
	})
	return err
}

const sqlRecount = `
WITH recount AS (
  SELECT recorded_on AS day, tenant_id, consumer, count(*) FILTER (WHERE outcome = 'accepted') AS accepted,
         count(*) FILTER (WHERE outcome LIKE 'ineligible:%') AS ineligible, count(*) FILTER (WHERE outcome = 'canary') AS canary, 0::bigint AS quarantined
    FROM event_runtime.consumer_outcomes WHERE (@day::date IS NULL OR recorded_on = @day) GROUP BY 1, 2, 3
  UNION ALL
  SELECT recorded_on, tenant_id, consumer, 0, 0, 0, count(*) FROM event_runtime.quarantine
   WHERE stage = 'ingest' AND event_id IS NOT NULL AND tenant_id IS NOT NULL AND consumer <> 'relay' AND (@day::date IS NULL OR recorded_on = @day) GROUP BY 1, 2, 3),
summed AS (
  SELECT day, tenant_id, consumer, sum(accepted)::bigint AS accepted, sum(ineligible)::bigint AS ineligible, sum(canary)::bigint AS canary, sum(quarantined)::bigint AS quarantined
    FROM recount GROUP BY 1, 2, 3)
SELECT day, tenant_id, consumer, coalesce(b.accepted, 0), coalesce(b.ineligible, 0), coalesce(b.canary, 0), coalesce(b.quarantined, 0),
       coalesce(s.accepted, 0), coalesce(s.ineligible, 0), coalesce(s.canary, 0), coalesce(s.quarantined, 0)
  FROM (SELECT * FROM event_runtime.books WHERE @day::date IS NULL OR day = @day) b FULL JOIN summed s USING (day, tenant_id, consumer)
 ORDER BY day, tenant_id, consumer`

// A consumer that has rows but is owed nothing: its events were not looked at.
const sqlUnentitled = `
SELECT DISTINCT consumer FROM event_runtime.books b
 WHERE NOT EXISTS (SELECT FROM event_runtime.entitlements e WHERE e.consumer = b.consumer) ORDER BY consumer`

func (r *Report) unentitled(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sqlUnentitled)
	if err != nil {
		return err
	}
	var consumer string
	_, err = pgx.ForEachRow(rows, []any{&consumer}, func() error {
		r.broken("entitlement", "consumer "+consumer, "it has rows, but is owed nothing")
		return nil
	})
	return err
}

func (r *Report) books(ctx context.Context, tx pgx.Tx, opt Options) error {
	if err := r.unentitled(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sqlRecount, pgx.NamedArgs{"day": opt.day})
	if err != nil {
		return err
	}
	var day time.Time
	var tenant, consumer string
	var running, recount books.Counts
	_, err = pgx.ForEachRow(rows, []any{&day, &tenant, &consumer, &running.Accepted, &running.Ineligible, &running.Canary, &running.Quarantined,
		&recount.Accepted, &recount.Ineligible, &recount.Canary, &recount.Quarantined}, func() error {
		r.Counted["pages"]++
		r.Counted["booked"] += running.Accepted + running.Ineligible + running.Canary + running.Quarantined
		if d := books.Compare(running, recount); d != nil {
			r.broken(string(d.Equation), fmt.Sprintf("%s of tenant %s at %s", day.Format(time.DateOnly), tenant, consumer), d.Detail)
		}
		return nil
	})
	return err
}

// A reclassification of what was not set aside, or was never there.
const sqlUnfoundedAgain = `
SELECT r.tenant_id, r.event_id, r.consumer, r.was FROM event_runtime.reclassifications r
 WHERE NOT EXISTS (SELECT FROM event_runtime.consumer_idempotency k
   WHERE k.recorded_on = r.recorded_on AND k.tenant_id = r.tenant_id AND k.event_id = r.event_id AND k.consumer = r.consumer AND k.outcome = r.was) LIMIT 100`

const sqlReclassifiedCount = `SELECT count(*) FROM event_runtime.reclassifications`

func (r *Report) reclassifications(ctx context.Context, tx pgx.Tx, _ Options) error {
	var n int64
	if err := tx.QueryRow(ctx, sqlReclassifiedCount).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		r.Counted["reclassified"] = n
	}
	rows, err := tx.Query(ctx, sqlUnfoundedAgain)
	if err != nil {
		return err
	}
	var tenant, consumer, was string
	var id event.ID
	_, err = pgx.ForEachRow(rows, []any{&tenant, &id, &consumer, &was}, func() error {
		r.broken("reclassified", fmt.Sprintf("event %s of tenant %s at %s", id, tenant, consumer), "it was classified again, but has no row that says "+was)
		return nil
	})
	return err
}

const sqlConflicts = `SELECT count(*) FROM event_runtime.event_conflicts`

func (r *Report) conflicts(ctx context.Context, tx pgx.Tx, _ Options) error {
	return tx.QueryRow(ctx, sqlConflicts).Scan(&r.Conflicts)
}
