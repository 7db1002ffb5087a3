package submit

import (
	"context"
	"errors"
	"fmt"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

var errNotRefused = errors.New("it is not a batch that was refused as a whole and still holds its items")

const sqlSupersede = `
UPDATE event_runtime.export_batches SET superseded_by = array_fill(@child::uuid, array[items]), changed_at = @now
 WHERE batch_id = @batch_id AND state = 'rejected' AND code IN ('bad_request', 'not_acceptable', 'unsupported_media') AND superseded_by IS NULL
RETURNING items`

// Requeue makes a new batch of the events of one that the regulator refused as a
// whole, after the cause has been mended: they are encoded anew, by this
// release. Nothing of the old batch was stored, so nothing is doubled.
func (d *Desk) Requeue(ctx context.Context, id event.ID, actor string) (event.ID, error) {
	var child event.ID
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		b, err := scanRow(tx.QueryRow(ctx, sqlStanding, pgx.NamedArgs{"batch_id": id}))
		if err != nil {
			return fmt.Errorf("read batch: %w", err)
		}
		made := &draft{id: event.NewID(d.now()), lane: b.lane(), reason: "requeued", state: Sealed, bytes: 2, parent: &b.ID}
		child = made.id
		var items int
		err = tx.QueryRow(ctx, sqlSupersede, pgx.NamedArgs{"batch_id": b.ID, "child": child, "now": d.now()}).Scan(&items)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNotRefused
		}
		if err != nil {
			return fmt.Errorf("supersede: %w", err)
		}
		_, limit := d.adapters[b.Ecosystem].Limits(b.API)
		all := &chunk{items: items, events: b.EventIDs, oldest: b.oldest, deadline: b.deadline}
		used, err := d.encode(ctx, tx, made, all, items, limit)
		if err != nil {
			return err
		}
		if used < items {
			return fmt.Errorf("only %d of %d items fit into one request now", used, items)
		}
		if len(made.items) > 0 {
			if err := d.freeze(ctx, tx, made); err != nil {
				return err
			}
		}
		return audit.Append(ctx, tx, d.now(), audit.Change{Chain: b.TenantID, Actor: actor, Action: "batch.requeued", Subject: b.ID.String(),
			Payload: map[string]any{"child": child.String(), "items": items, "encoded": len(made.items)}})
	})
	if err != nil {
		return event.ID{}, fmt.Errorf("requeue batch %s: %w", id, err)
	}
	return child, nil
}
