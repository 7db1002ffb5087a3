// Package archive looks after partitions.
//
// Promise: the days of the next two weeks exist before anybody needs them.
// State:   the table partition_days.
// Failure: a day that cannot be made is tried again every minute; how many days
//
//	are left without a hole is a metric that alerts long before the last.
package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// DaysAhead is how far partitions are made.
const DaysAhead = 14

const sqlEnsureDays = `SELECT event_runtime.ensure_days(@first::date, @last::date)`

// Keep makes days until ctx ends. It is the leader's job; pool is the
// maintenance role's.
func Keep(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, log zerolog.Logger) error {
	for ctx.Err() == nil {
		wait := time.Hour
		made, left, err := ensure(ctx, pool, now().UTC().Truncate(24*time.Hour))
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error().Str("event", "partitions.failed").Err(err).Send()
			wait = time.Minute
		case made > 0:
			log.Info().Str("event", "partitions.made").Int("tables", made).Int("days_ahead", left).Send()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// ensure makes the days one by one, each by a statement that commits by itself.
// A new day takes locks that keep everybody from writing receipts: in a
// transaction of ours a process that is stopped halfway would keep them.
func ensure(ctx context.Context, pool *pgxpool.Pool, today time.Time) (made, left int, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("make days: %w", err)
	}
	defer conn.Release()
	// Waiting longer for a lock would queue every producer behind us.
	if _, err := conn.Exec(ctx, "SET lock_timeout = '2s'"); err != nil {
		return 0, 0, fmt.Errorf("make days: %w", err)
	}
	for ahead := -1; ahead <= DaysAhead; ahead++ {
		day, tables := today.AddDate(0, 0, ahead), 0
		if err := conn.QueryRow(ctx, sqlEnsureDays, pgx.NamedArgs{"first": day, "last": day}).Scan(&tables); err != nil {
			return made, 0, fmt.Errorf("make day %s: %w", day.Format(time.DateOnly), err)
		}
		made += tables
	}
	left, err = Ahead(ctx, conn, today)
	return made, left, err
}
