package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A slot that is synced but temporary is gone after a promotion. Columns of 17 are
// read by their names.
const sqlStandby = `
SELECT current_setting('server_version_num')::int >= 170000,
       EXISTS (SELECT FROM pg_replication_slots s WHERE slot_name = @slot AND (to_jsonb(s) ->> 'synced')::boolean AND NOT temporary
                  AND to_jsonb(s) ->> 'invalidation_reason' IS NULL)`

// StandbyReady reports whether the slot would survive the promotion of a server;
// not known where no slot does.
func StandbyReady(ctx context.Context, db DB, slot string) (ready, known bool, err error) {
	if err := db.QueryRow(ctx, sqlStandby, pgx.NamedArgs{"slot": slot}).Scan(&known, &ready); err != nil {
		return false, false, fmt.Errorf("look at a standby: %w", err)
	}
	return ready, known, nil
}

// standbys asks all of them; nil where it means nothing. One that does not answer
// is not ready.
func (w *Watch) standbys(ctx context.Context) *bool {
	var all *bool
	for _, pool := range w.Standbys {
		ready, known, err := StandbyReady(ctx, pool, w.Slot)
		if err == nil && !known {
			continue
		}
		if all == nil {
			all = new(bool)
			*all = true
		}
		*all = *all && ready && err == nil
	}
	return all
}
