package books

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/jackc/pgx/v5"
)

// Hindrance says what keeps a day from being closed.
type Hindrance string

// Hindrances.
const (
	None       Hindrance = ""
	Early      Hindrance = "early"      // its events may still be appended
	Unseen     Hindrance = "unseen"     // a transaction is open that may add to it, or a message is on its way
	Missing    Hindrance = "missing"    // an event of it has no row where it owes one
	Unbalanced Hindrance = "unbalanced" // an equation does not hold
)

// OpenFor is how long after its end a day is open: an id may be a day old when
// its event is appended.
const OpenFor = 24 * time.Hour

// MayClose decides about a day. Everything before seen is known to have its
// place, or to be missing.
func MayClose(day, now, seen time.Time, missing, differences int) Hindrance {
	over := day.Add(24 * time.Hour).Add(OpenFor)
	switch {
	case now.Before(over):
		return Early
	case seen.Before(over):
		return Unseen
	case missing > 0:
		return Missing
	case differences > 0:
		return Unbalanced
	default:
		return None
	}
}

// Whoever closes waits for all who are adding to old days, and they for it.
const (
	sqlLockDays  = `SELECT pg_advisory_xact_lock(hashtextextended('event_runtime.days', 0))`
	sqlShareDays = `SELECT pg_advisory_xact_lock_shared(hashtextextended('event_runtime.days', 0))`
)

const sqlBooked = `
SELECT coalesce(sum(accepted + ineligible + canary + quarantined), 0)::bigint FROM event_runtime.books WHERE day = @day`

const sqlClose = `
INSERT INTO event_runtime.days AS d (day, closed_at) VALUES (@day, @now)
ON CONFLICT (day) DO UPDATE SET closed_at = excluded.closed_at, closings = d.closings + 1 WHERE d.closed_at IS NULL
RETURNING closings`

// Close closes a day in tx, unless something was added to it since it had as many
// events as it was found to balance with.
func Close(ctx context.Context, tx pgx.Tx, day, now time.Time, actor string, events int64) (Hindrance, error) {
	args := pgx.NamedArgs{"day": day, "now": now}
	if _, err := tx.Exec(ctx, sqlLockDays); err != nil {
		return "", fmt.Errorf("close %s: %w", day.Format(time.DateOnly), err)
	}
	var booked, closings int64
	if err := tx.QueryRow(ctx, sqlBooked, args).Scan(&booked); err != nil {
		return "", fmt.Errorf("close %s: %w", day.Format(time.DateOnly), err)
	}
	if booked != events {
		return Unseen, nil
	}
	if err := tx.QueryRow(ctx, sqlClose, args).Scan(&closings); err != nil {
		return "", fmt.Errorf("close %s: %w", day.Format(time.DateOnly), err)
	}
	return None, audit.Append(ctx, tx, now, audit.Change{Chain: audit.PlatformChain, Actor: actor, Action: "day.closed", Subject: day.Format(time.DateOnly),
		Payload: map[string]int64{"events": events, "closings": closings}})
}

const sqlClosed = `SELECT day FROM event_runtime.days WHERE day = any(@days::date[])`

const sqlReopen = `UPDATE event_runtime.days SET closed_at = NULL WHERE day = any(@days::date[]) AND closed_at IS NOT NULL RETURNING day`

// Reopen opens those of the days again that are closed, in the transaction that
// adds to them, and says which have ever been closed: what comes for them now is
// a correction.
func Reopen(ctx context.Context, tx pgx.Tx, days []time.Time, now time.Time, actor string) (corrected map[time.Time]bool, err error) {
	args := pgx.NamedArgs{"days": days}
	if _, err := tx.Exec(ctx, sqlShareDays); err != nil {
		return nil, fmt.Errorf("look at closed days: %w", err)
	}
	reopened, err := list(ctx, tx, sqlReopen, args)
	if err != nil {
		return nil, err
	}
	for _, day := range reopened {
		err := audit.Append(ctx, tx, now, audit.Change{Chain: audit.PlatformChain, Actor: actor, Action: "day.reopened", Subject: day.Format(time.DateOnly), Payload: struct{}{}})
		if err != nil {
			return nil, err
		}
	}
	ever, err := list(ctx, tx, sqlClosed, args)
	if err != nil {
		return nil, err
	}
	corrected = map[time.Time]bool{}
	for _, day := range ever {
		corrected[day.UTC()] = true
	}
	return corrected, nil
}

func list(ctx context.Context, tx pgx.Tx, sql string, args pgx.NamedArgs) ([]time.Time, error) {
	rows, err := tx.Query(ctx, sql, args)
	if err != nil {
		return nil, fmt.Errorf("look at closed days: %w", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("look at closed days: %w", err)
	}
	return days, nil
}
