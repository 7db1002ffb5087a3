package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/jackc/pgx/v5"
)

// A sweep is at its end when each consumer is whole behind the moment at which
// there was a slot again, whole days have been looked through since, and nothing
// that was missing then is missing still.
const (
	sqlUnfinished = `
SELECT loss_id, cause, promoted, recreated_at,
       NOT EXISTS (SELECT FROM event_runtime.sweep_marks WHERE swept_until < l.recreated_at OR whole_at IS NULL OR whole_at < l.recreated_at)
       AND NOT EXISTS (SELECT FROM event_runtime.entitlements e WHERE NOT EXISTS (SELECT FROM event_runtime.sweep_marks m WHERE m.consumer = e.consumer))
       AND NOT EXISTS (SELECT FROM event_runtime.sweep_owed WHERE recorded_at < l.recreated_at)
  FROM event_runtime.cdc_losses l WHERE slot_name = @slot AND recreated_at IS NOT NULL AND ended_at IS NULL ORDER BY loss_id`

	// An id may be much older than its row: whole days are due at once.
	sqlHurry = `UPDATE event_runtime.sweep_marks SET whole_at = NULL WHERE whole_at < @recreated`

	sqlEnd = `
UPDATE event_runtime.cdc_losses l
   SET ended_at = @now, ghosts = @ghosts,
       gap_rows = (SELECT coalesce(sum(swept), 0) FROM event_runtime.books WHERE l.swept_since IS NULL OR day >= l.swept_since) - coalesce(swept_rows, 0)
 WHERE loss_id = @id AND ended_at IS NULL
RETURNING cause, promoted, gap_rows, coalesce(clean_until, last_seen_at), recreated_at, last_system_id, last_timeline, last_lsn::text, start_lsn::text`

	// Consumer rows whose outbox row the promoted server never had: their messages
	// were faster than replication.
	sqlGhosts = `
SELECT k.consumer, k.event_id::text FROM event_runtime.consumer_idempotency k
 WHERE k.recorded_on BETWEEN (SELECT (last_seen_at AT TIME ZONE 'UTC')::date - 2 FROM event_runtime.cdc_losses WHERE loss_id = @id) AND (@now::timestamptz AT TIME ZONE 'UTC')::date + 1
   AND NOT EXISTS (SELECT FROM event_runtime.outbox o WHERE o.tenant_id = k.tenant_id AND o.recorded_on = k.recorded_on AND o.event_id = k.event_id)
 ORDER BY 2, 1`
)

// finish ends the recoveries whose sweep has come to its end.
func (w *Watch) finish(ctx context.Context) error {
	rows, err := w.Pool.Query(ctx, sqlUnfinished, pgx.NamedArgs{"slot": w.Slot})
	if err != nil {
		return fmt.Errorf("read recoveries: %w", err)
	}
	type recovery struct {
		Loss
		swept bool
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r recovery, err error) {
		return r, row.Scan(&r.ID, &r.Cause, &r.Promoted, &r.RecreatedAt, &r.swept)
	})
	if err != nil {
		return fmt.Errorf("read recoveries: %w", err)
	}
	w.metrics.open.Store(int64(len(all)))
	for _, r := range all {
		if !r.swept {
			if _, err := w.Pool.Exec(ctx, sqlHurry, pgx.NamedArgs{"recreated": r.RecreatedAt}); err != nil {
				return fmt.Errorf("hurry the sweep on: %w", err)
			}
			continue
		}
		if err := w.end(ctx, r.Loss); err != nil {
			return err
		}
	}
	return nil
}

// window is a span of time.
type window struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// place is a position in one history of a server.
type place struct {
	System   string `json:"system_id,omitempty"`
	Timeline int32  `json:"timeline,omitempty"`
	LSN      string `json:"lsn"`
}

// recovered is what the ledger says about it.
type recovered struct {
	Slot     string `json:"slot"`
	Cause    State  `json:"cause"`
	Promoted bool   `json:"promoted"`
	GapRows  int64  `json:"gap_rows"` // events that the sweeper published meanwhile
	Window   window `json:"window"`   // from the last clean watermark until there was a slot again
	Ghosts   int64  `json:"ghosts"`
	Last     place  `json:"last"`
	Start    place  `json:"start"`
}

// end writes the recovery and its entry of the ledger, together and once.
func (w *Watch) end(ctx context.Context, l Loss) error {
	now := w.Now()
	ghosts, err := w.ghosts(ctx, l, now)
	if err != nil {
		return err
	}
	r := recovered{Slot: w.Slot, Ghosts: int64(len(ghosts))}
	err = pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlEnd, pgx.NamedArgs{"id": l.ID, "now": now, "ghosts": r.Ghosts}).Scan(&r.Cause, &r.Promoted, &r.GapRows,
			&r.Window.From, &r.Window.Until, &r.Last.System, &r.Last.Timeline, &r.Last.LSN, &r.Start.LSN)
		if err != nil {
			return err
		}
		r.Window.From, r.Window.Until = r.Window.From.UTC(), r.Window.Until.UTC()
		if err := audit.Append(ctx, tx, now, audit.Change{Chain: audit.PlatformChain, Actor: "event-runtime", Action: "cdc_recovered", Subject: w.Slot, Payload: r}); err != nil {
			return err
		}
		if len(ghosts) == 0 {
			return nil
		}
		return audit.Append(ctx, tx, now, audit.Change{Chain: audit.PlatformChain, Actor: "event-runtime", Action: "cdc_ghosts_found", Subject: w.Slot,
			Payload: map[string]any{"rows": len(ghosts), "first": ghosts[:min(len(ghosts), ghostsNamed)]}})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // another leader was first
	}
	if err != nil {
		return fmt.Errorf("end the recovery: %w", err)
	}
	w.metrics.recovered(ctx, r.Cause, r.Ghosts)
	w.Log.Info().Str("event", "slot.recovered").Str("slot", w.Slot).Str("cause", string(r.Cause)).Bool("promoted", r.Promoted).Int64("gap_rows", r.GapRows).
		Time("from", r.Window.From).Time("until", r.Window.Until).Int64("ghosts", r.Ghosts).Send()
	if len(ghosts) > 0 {
		w.Log.Error().Str("event", "slot.ghosts_found").Int("rows", len(ghosts)).Strs("first", ghosts[:min(len(ghosts), ghostsNamed)]).
			Str("hint", "these were reported or wait to be, and the promoted server never had their events: hold their lanes, and ask their producers").Send()
	}
	return nil
}

// ghostsNamed is how many of them are named.
const ghostsNamed = 20

// ghosts lists what the promoted server knows by its messages only. The sweep is
// at its end, so no message of before the promotion is still on its way.
func (w *Watch) ghosts(ctx context.Context, l Loss, now time.Time) ([]string, error) {
	if !l.Promoted {
		return nil, nil
	}
	rows, err := w.Pool.Query(ctx, sqlGhosts, pgx.NamedArgs{"id": l.ID, "now": now})
	if err != nil {
		return nil, fmt.Errorf("look for ghosts: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var consumer, id string
		err := row.Scan(&consumer, &id)
		return id + " at " + consumer, err
	})
}
