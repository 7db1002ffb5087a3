package bridge

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/jackc/pgx/v5"
)

// park commits what will never be published: then it counts as delivered, so that
// it does not hold up its batch. Whoever leads the workers announces it.
func (s *Service) park(ctx context.Context, never []*parcel) error {
	if len(never) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, p := range never {
			if _, err := quarantine.Insert(ctx, tx, p.entry()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set %d rows aside: %w", len(never), err)
	}
	for _, p := range never {
		e := p.entry()
		s.log.Error().Str("event", "event.parked").Str("event_id", e.Key).Str("reason", e.Reason).Str("detail", e.Detail).Send()
	}
	return nil
}
