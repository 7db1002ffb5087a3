package relay

import (
	"context"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
)

const (
	confirmEvery   = 10 * time.Second       // without news
	confirmSoonest = 200 * time.Millisecond // with news all the time
)

// confirm tells the server how far everything is stored: soon after it changes,
// when the server asks, and otherwise now and then.
func (s *session) confirm(ctx context.Context) error {
	var last uint64
	regular := time.NewTicker(confirmEvery)
	defer regular.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.keep.advanced():
		case <-s.asked:
		case <-regular.C:
		}
		lsn := s.keep.position()
		if lsn > last {
			s.promise(ctx, lsn)
			crash.Point("relay_after_puback_before_confirm")
		}
		if err := s.feed.confirm(lsn, time.Now()); err != nil {
			return err
		}
		last = lsn
		s.counts.confirmed.Store(lsn)
		pause(ctx, confirmSoonest)
	}
}
