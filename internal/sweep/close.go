package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/books"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/jackc/pgx/v5"
)

// Days that are over and not closed. Nothing is expected of days before the first
// entitlement, and they balance.
const sqlOpenDays = `
SELECT p.day FROM event_runtime.partition_days p
 WHERE p.parent = 'outbox' AND p.day <= @last AND NOT EXISTS (SELECT FROM event_runtime.days d WHERE d.day = p.day AND d.closed_at IS NOT NULL)
 ORDER BY p.day`

func (s *Sweeper) openDays(ctx context.Context, last time.Time) ([]time.Time, error) {
	rows, err := s.Pool.Query(ctx, sqlOpenDays, pgx.NamedArgs{"last": last})
	if err != nil {
		return nil, fmt.Errorf("list open days: %w", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("list open days: %w", err)
	}
	return days, nil
}

// oldestOpen is where whole days begin.
func (s *Sweeper) oldestOpen(ctx context.Context, now time.Time) (time.Time, error) {
	today := now.UTC().Truncate(day)
	days, err := s.openDays(ctx, today)
	if err != nil || len(days) == 0 {
		return today, err
	}
	return days[0].UTC(), nil
}

// Close closes the days that are over: it sweeps each as a whole, and holds its
// books against its events. A day that cannot be closed keeps no other open.
func (s *Sweeper) Close(ctx context.Context) error {
	now := s.Now()
	days, err := s.openDays(ctx, now.UTC().Truncate(day).Add(-day-books.OpenFor))
	if err != nil {
		return err
	}
	var failed []error
	seen := &closing{differences: map[string]int64{}}
	for _, day := range days {
		if err := s.closeDay(ctx, day.UTC(), now, seen); err != nil {
			failed = append(failed, fmt.Errorf("close %s: %w", day.Format(time.DateOnly), err))
			seen.overdue++
		}
	}
	s.metrics.close.Store(seen)
	return errors.Join(failed...)
}

func (s *Sweeper) closeDay(ctx context.Context, of, now time.Time, all *closing) error {
	seen, err := s.sweepDay(ctx, of, now)
	if err != nil {
		return err
	}
	missing, err := s.missingOf(ctx, of)
	if err != nil {
		return err
	}
	hindrance, booked := books.MayClose(of, now, seen, missing, 0), int64(0)
	if hindrance == books.None {
		report, err := verify.Day(ctx, s.Pool, of)
		if err != nil {
			return err
		}
		for _, f := range report.Broken {
			all.differences[f.Check]++
		}
		hindrance, booked = books.MayClose(of, now, seen, missing, len(report.Broken)), report.Counted["booked"]
	}
	if hindrance == books.None {
		err = s.hold(ctx, func(tx pgx.Tx) (err error) {
			hindrance, err = books.Close(ctx, tx, of, now, s.Actor, booked)
			return err
		})
	}
	switch {
	case err != nil:
		return err
	case hindrance != books.None:
		all.overdue++
		s.Log.Warn().Str("event", "day.kept_open").Str("day", of.Format(time.DateOnly)).Str("reason", string(hindrance)).Int("missing", missing).Send()
	default:
		s.Log.Info().Str("event", "day.closed").Str("day", of.Format(time.DateOnly)).Int64("events", booked).Send()
	}
	return nil
}

// sweepDay looks through a whole day for every consumer, and says up to where
// nothing can come any more that was not looked for.
func (s *Sweeper) sweepDay(ctx context.Context, of, now time.Time) (seen time.Time, err error) {
	samples, slot, err := s.sample(ctx, now)
	if err != nil {
		return seen, err
	}
	seen = now
	for _, d := range s.durables {
		floor, err := s.floor(ctx, d)
		if err != nil {
			return seen, err
		}
		limits := LimitsAt(now, s.cfg.Grace, samples, slot, floor)
		seen = earliest(seen, limits.Mark())
		for _, w := range windows(of, of.Add(day)) {
			if err := s.find(ctx, d, w, now); err != nil {
				return seen, err
			}
		}
		if err := s.settle(ctx, d, limits, now, newSight()); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

const sqlMissingOf = `SELECT count(*) FROM event_runtime.sweep_owed WHERE recorded_on = @day`

func (s *Sweeper) missingOf(ctx context.Context, of time.Time) (n int, err error) {
	if err := s.Pool.QueryRow(ctx, sqlMissingOf, pgx.NamedArgs{"day": of}).Scan(&n); err != nil {
		return 0, fmt.Errorf("count what is missing: %w", err)
	}
	return n, nil
}
