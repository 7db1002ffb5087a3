package capture

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
)

// A store makes the events of a group durable, all of them or none. The order of
// events means nothing.
type store interface {
	// put returns nil when the group, whose items are checked, is committed, and
	// otherwise an error for judge to read. It returns soon after ctx ends; the group
	// may be committed all the same.
	put(ctx context.Context, group []*item) error
}

// transaction is the store in Postgres: one transaction, and one INSERT, a group.
type transaction struct {
	pool       Pool
	durability Durability
}

const sqlDurability = `SELECT set_config('synchronous_commit', @mode, true)`

func (s transaction) put(ctx context.Context, group []*item) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit; with ctx at its end it drops the connection
	var b pgx.Batch                         // one round trip for both
	b.Queue(sqlDurability, pgx.NamedArgs{"mode": s.durability.commitMode()})
	outbox.Queue(&b, prepared(group)...)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("append %d events: %w", len(group), err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func prepared(group []*item) []outbox.Prepared {
	events := make([]outbox.Prepared, len(group))
	for i, it := range group {
		events[i] = *it.prepared
	}
	return events
}
