package archive

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// What is written down about days is what should be there; what is attached is
// there. A day that somebody has detached or dropped counts as missing, and so
// does everything behind the first hole.
const sqlDaysAhead = `
SELECT coalesce(min(d.day)::date - @today::date - 1, @most)
  FROM (SELECT DISTINCT parent FROM event_runtime.partition_days) AS p, generate_series(@today::timestamp, @today::timestamp + @most::int * interval '1 day', interval '1 day') AS d(day)
 WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = to_regclass('event_runtime.' || p.parent) AND NOT i.inhdetachpending AND c.relname = p.parent || '_' || to_char(d.day, 'YYYYMMDD'))`

// querier is a connection or a pool.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Ahead counts the days after today until the first for which some table has no
// partition; -1 when today is the first.
func Ahead(ctx context.Context, db querier, today time.Time) (days int, err error) {
	if err := db.QueryRow(ctx, sqlDaysAhead, pgx.NamedArgs{"today": today, "most": DaysAhead}).Scan(&days); err != nil {
		return 0, fmt.Errorf("count days ahead: %w", err)
	}
	return days, nil
}

const (
	watchEvery = 5 * time.Second
	tooFew     = 7 // days: a page, long before producers fail
)

// Watch measures how many days are left until ctx ends. It makes none, and needs
// no right to.
func Watch(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, log zerolog.Logger) error {
	var seen atomic.Pointer[int64]
	stop, err := export(&seen)
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for short := 0; ; { // looks in a row: the first may come before a new leader has made days
		left, err := Ahead(ctx, pool, now().UTC().Truncate(24*time.Hour))
		if err != nil {
			seen.Store(nil)
		} else {
			days := int64(left)
			seen.Store(&days)
			if short++; left >= tooFew {
				short = 0
			}
			if short == 2 {
				log.Error().Str("event", "partitions.short").Int("days_ahead", left).
					Str("hint", "give a worker MAINTENANCE_DATABASE_URL, or run `event-runtime migrate`: producers fail on a day without a partition").Send()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// export offers what the last look saw, where it saw something, until stop: what
// a process knew that leads no more would stand beside what is true.
func export(seen *atomic.Pointer[int64]) (stop func(), err error) {
	meter := otel.Meter("event-runtime/archive")
	ahead, e0 := meter.Int64ObservableGauge("event_runtime_partition_days_ahead", metric.WithDescription("Days after today for which all partitions exist, without a hole."))
	registration, e1 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if days := seen.Load(); days != nil {
			o.ObserveInt64(ahead, *days)
		}
		return nil
	}, ahead)
	if err := errors.Join(e0, e1); err != nil {
		return nil, fmt.Errorf("open metrics: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}
