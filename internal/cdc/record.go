package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// stride is how far ahead the relay says it may confirm: a row for each 16 MiB of
// log, and none while nothing happens. A slot that was made anew within a stride,
// unseen, is not told from the old one; its rows are swept all the same.
const stride = 16 << 20

const sqlPromise = `
INSERT INTO event_runtime.cdc_slots AS s (slot_name, system_id, timeline, confirmed_lsn, reach_lsn, seen_at)
VALUES (@slot, @system, @timeline, '0/0'::pg_lsn + @confirmed::numeric, '0/0'::pg_lsn + @reach::numeric, clock_timestamp())
ON CONFLICT (slot_name) DO UPDATE
   SET confirmed_lsn = excluded.confirmed_lsn, reach_lsn = greatest(s.reach_lsn, excluded.reach_lsn), seen_at = excluded.seen_at
 WHERE s.system_id = excluded.system_id AND s.timeline = excluded.timeline`

// Promise says that our relay may confirm up to some way behind confirmed, and
// gives that position. It is said before it is done: a slot that is further was
// never confirmed by us.
func Promise(ctx context.Context, db DB, slot string, on Seen, confirmed uint64) (reach uint64, err error) {
	reach = confirmed + stride
	_, err = db.Exec(ctx, sqlPromise, pgx.NamedArgs{"slot": slot, "system": on.SystemID, "timeline": on.Timeline, "confirmed": confirmed, "reach": reach})
	if err != nil {
		return 0, fmt.Errorf("say how far the slot may be confirmed: %w", err)
	}
	return reach, nil
}

// By says who found a loss.
type By string

// Finders.
const (
	ByRelay  By = "relay"
	ByLeader By = "leader"
)

// Loss is one row of cdc_losses.
type Loss struct {
	ID          int64
	Cause       State
	Promoted    bool
	FoundAt     time.Time
	RecreatedAt *time.Time
}

const sqlOpen = `
INSERT INTO event_runtime.cdc_losses (slot_name, cause, promoted, found_by, found_at, last_system_id, last_timeline, last_lsn, last_seen_at, clean_until, swept_since, swept_rows)
SELECT slot_name, @cause, @promoted, @by, clock_timestamp(), system_id, timeline, confirmed_lsn, seen_at, clean_until, swept_since, swept_rows
  FROM event_runtime.cdc_slots WHERE slot_name = @slot
ON CONFLICT (slot_name) WHERE recreated_at IS NULL DO NOTHING`

const sqlOpenLoss = `
SELECT loss_id, cause, promoted, found_at FROM event_runtime.cdc_losses WHERE slot_name = @slot AND recreated_at IS NULL`

// Open writes a loss down, once: whoever comes second finds the row of the first.
func Open(ctx context.Context, db DB, slot string, cause State, promoted bool, by By) (*Loss, error) {
	args := pgx.NamedArgs{"slot": slot, "cause": cause, "promoted": promoted, "by": by}
	if _, err := db.Exec(ctx, sqlOpen, args); err != nil {
		return nil, fmt.Errorf("write down the loss of the slot: %w", err)
	}
	return OpenLoss(ctx, db, slot)
}

// OpenLoss gives the loss after which no slot is there yet; nil: none.
func OpenLoss(ctx context.Context, db DB, slot string) (*Loss, error) {
	var l Loss
	err := db.QueryRow(ctx, sqlOpenLoss, pgx.NamedArgs{"slot": slot}).Scan(&l.ID, &l.Cause, &l.Promoted, &l.FoundAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read the loss of the slot: %w", err)
	}
	return &l, nil
}

// Everything that was committed before this moment, and is not behind the slot's
// position, is the sweeper's. Where the relay is another one, it tells us nothing
// of what it confirms.
const (
	sqlRenewed = `
UPDATE event_runtime.cdc_losses SET recreated_at = clock_timestamp(), start_lsn = '0/0'::pg_lsn + @confirmed::numeric
 WHERE slot_name = @slot AND recreated_at IS NULL`

	sqlRenew = `
UPDATE event_runtime.cdc_slots
   SET system_id = @system, timeline = @timeline, confirmed_lsn = '0/0'::pg_lsn + @confirmed::numeric, seen_at = clock_timestamp(),
       reach_lsn = CASE WHEN @relay THEN '0/0'::pg_lsn + @reach::numeric END
 WHERE slot_name = @slot`
)

// Renew says that a slot is there again, and which one it is.
func Renew(ctx context.Context, tx pgx.Tx, slot string, now Seen, by By) error {
	args := pgx.NamedArgs{"slot": slot, "system": now.SystemID, "timeline": now.Timeline, "confirmed": now.Confirmed, "reach": now.Confirmed + stride, "relay": by == ByRelay}
	for _, sql := range []string{sqlRenewed, sqlRenew} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return fmt.Errorf("write down that the slot is there again: %w", err)
		}
	}
	return nil
}
