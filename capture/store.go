package capture

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/outbox"
)

// A store makes events durable. The writers call it side by side, and the order
// of their events means nothing: a store that commits for several of them at
// once can take the place of single without anything else noticing.
type store interface {
	// put returns nil when e is committed, and otherwise an error for judge to
	// read. It returns soon after ctx ends; e may be committed all the same.
	put(ctx context.Context, e outbox.Event) error
}

// single is one transaction an event.
type single struct{ pool Pool }

func (s single) put(ctx context.Context, e outbox.Event) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit; with ctx at its end it drops the connection
	if _, err := outbox.Append(ctx, tx, e); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
