package relay

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	tendEvery = 200 * time.Millisecond // how exact times in the window are
	lookEvery = 10 * time.Second       // at the slot's lag, and whether trouble is over
)

// tend looks after what is in the window: sends again what is due, parks what
// was refused, and tells the window the time.
func (s *session) tend(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	p := s.publisher()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reconnected:
			s.window.tick(time.Now())
			s.groups.forget()
			s.window.reconnected()
			wake(s.groups.more)
		case <-s.window.kick:
		case now := <-tick.C:
			s.window.tick(now)
			s.groups.expire(now.Add(-s.cfg.AckTimeout))
			wake(s.groups.more)
			if now.Sub(looked) >= lookEvery {
				looked = now
				if err := s.look(ctx); err != nil {
					return err
				}
			}
		}
		if s.nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
		if err := s.sendDue(ctx, p); err != nil {
			return err
		}
	}
}

func (s *session) look(ctx context.Context) error {
	s.window.probe()
	bytes, err := s.side.lag(ctx)
	if err == nil {
		s.counts.lag.Store(bytes)
	}
	return err
}

// sendDue goes through the window once. While there is no connection, nothing is
// tried and nothing counts as failed.
func (s *session) sendDue(ctx context.Context, p *publisher) error {
	var out outgoing
	for from := uint64(0); s.nc.IsConnected(); {
		seq, what, ok := s.window.due(from, &out)
		if !ok {
			break
		}
		from = seq + 1
		var err error
		switch what {
		case sent:
			err = p.send(seq, &out)
		case refused:
			err = s.parkRefused(ctx, seq, &out)
		case waiting:
			s.notStored(answer{code: noAnswer})
		}
		if err != nil {
			return err
		}
	}
	if s.window.troubled() == 0 {
		s.allStored()
	}
	return nil
}
