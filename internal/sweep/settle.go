package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Rows that have come since have their place now.
const sqlCame = `
DELETE FROM event_runtime.sweep_owed s
 WHERE consumer = @consumer AND stream = @stream
   AND (EXISTS (SELECT FROM event_runtime.consumer_idempotency k
                 WHERE k.tenant_id = s.tenant_id AND k.recorded_on = s.recorded_on AND k.event_id = s.event_id AND k.consumer = @consumer)
     OR EXISTS (SELECT FROM event_runtime.quarantine q
                 WHERE q.event_id = s.event_id AND q.tenant_id = s.tenant_id AND q.stage = 'ingest' AND q.consumer IN (@consumer, 'relay') AND q.resolution IS DISTINCT FROM 'requeued'))`

const sqlMissing = `
SELECT tenant_id, recorded_on, event_id, recorded_at, published_at FROM event_runtime.sweep_owed
 WHERE consumer = @consumer AND stream = @stream AND (tenant_id, recorded_on, event_id) > (@tenant, @day, @id)
 ORDER BY tenant_id, recorded_on, event_id LIMIT @page`

// Whoever waits for the same event in the same stream has been served too.
const sqlPublished = `
UPDATE event_runtime.sweep_owed s SET published_at = @now, published = published + 1
  FROM unnest(@tenants::text[], @days::date[], @ids::uuid[]) AS p(tenant_id, recorded_on, event_id)
 WHERE s.consumer = @consumer AND s.stream = @stream AND s.tenant_id = p.tenant_id AND s.recorded_on = p.recorded_on AND s.event_id = p.event_id`

const sqlBooks = `
INSERT INTO event_runtime.books AS b (day, tenant_id, consumer, swept)
SELECT recorded_on, tenant_id, @consumer, count(*) FROM unnest(@tenants::text[], @days::date[]) AS p(tenant_id, recorded_on)
 GROUP BY recorded_on, tenant_id ORDER BY recorded_on, tenant_id
ON CONFLICT (day, tenant_id, consumer) DO UPDATE SET swept = b.swept + excluded.swept`

// sendPage is how many events are published before that is written down.
const sendPage = 500

// settle forgets what has come, and publishes what is owed.
func (s *Sweeper) settle(ctx context.Context, d durable, limits Limits, now time.Time, seen *sight) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	if _, err := s.Pool.Exec(ctx, sqlCame, d.args()); err != nil {
		return fmt.Errorf("forget what came: %w", err)
	}
	seen.consumer(d.consumer)
	published := 0
	for after, n := (Key{}), sendPage; n == sendPage; {
		page, err := s.missing(ctx, d, after)
		if err != nil {
			return err
		}
		if n = len(page); n == 0 {
			break
		}
		after = page[n-1].Key
		var owed []Key
		for _, m := range page {
			verdict := limits.Judge(m, now, s.cfg.Again)
			if verdict.Gap() {
				seen.gap(d.consumer, m.RecordedAt)
			}
			if verdict == Owed {
				owed = append(owed, m.Key)
			}
		}
		sent, err := s.publishPage(ctx, d, owed, now)
		if published += sent; err != nil {
			return err
		}
	}
	if published > 0 {
		s.Log.Warn().Str("event", "sweep.published").Str("consumer", d.consumer).Str("stream", d.stream).Int("events", published).Send()
	}
	return nil
}

func (s *Sweeper) missing(ctx context.Context, d durable, after Key) ([]Missing, error) {
	args := d.args()
	args["tenant"], args["day"], args["id"], args["page"] = after.Tenant, after.Day, after.ID, sendPage
	rows, err := s.Pool.Query(ctx, sqlMissing, args)
	if err != nil {
		return nil, fmt.Errorf("read what is missing: %w", err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Missing, err error) {
		var published pgtype.Timestamptz
		err = row.Scan(&m.Tenant, &m.Day, &m.ID, &m.RecordedAt, &published)
		m.PublishedAt = published.Time
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is missing: %w", err)
	}
	return page, nil
}

// publishPage publishes, and writes down what a stream has taken. When it is
// killed in between, the same is published again: consumers know it by its id.
func (s *Sweeper) publishPage(ctx context.Context, d durable, owed []Key, now time.Time) (int, error) {
	if len(owed) == 0 {
		return 0, nil
	}
	stored, never, err := s.publish(ctx, owed)
	if len(stored)+len(never) == 0 {
		return 0, err
	}
	crash.Point("sweep_after_publish")
	return len(stored), errors.Join(err, s.record(ctx, d, stored, never, now))
}

func (s *Sweeper) record(ctx context.Context, d durable, stored []Key, never []quarantine.Entry, now time.Time) error {
	args := d.args()
	args["now"] = now
	args["tenants"], args["days"], args["ids"] = columnsOf(stored)
	err := s.hold(ctx, func(tx pgx.Tx) error {
		for _, e := range never {
			if _, err := quarantine.Insert(ctx, tx, e); err != nil {
				return err
			}
		}
		for _, sql := range []string{sqlPublished, sqlBooks} {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write down what was published: %w", err)
	}
	return nil
}

func columnsOf(keys []Key) (tenants []string, days []time.Time, ids []event.ID) {
	for _, k := range keys {
		tenants, days, ids = append(tenants, k.Tenant), append(days, k.Day), append(ids, k.ID)
	}
	return tenants, days, ids
}
