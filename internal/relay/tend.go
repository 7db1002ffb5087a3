package relay

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	tendEvery = 200 * time.Millisecond // how exact times in the window are
	lookEvery = 10 * time.Second       // at the slot's lag, and whether trouble is over

	leaderWithin = 10 * time.Second // a cluster that has lost one finds another
)

// tend looks after what is in the window: sends again what is due, parks what
// was refused, and tells the window the time.
func (s *session) tend(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	p := s.publisher()
	var looked time.Time
	still := stillness{since: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reconnected:
			s.window.tick(time.Now())
			s.groups.forget()
			s.ask()
			s.window.reconnected()
			wake(s.groups.more)
		case <-s.window.kick:
		case now := <-tick.C:
			s.window.tick(now)
			s.groups.expire(now.Add(-s.cfg.AckTimeout))
			wake(s.groups.more)
			if still.lasts(s.answers.Load(), s.window.outstanding() > 0, now) >= max(s.cfg.AckTimeout, leaderWithin) {
				still.since = now
				s.elsewhere()
			}
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

// stillness is since when no stream has decided about a message although some
// wait.
type stillness struct {
	since   time.Time
	answers int64
}

func (s *stillness) lasts(answers int64, waiting bool, now time.Time) time.Duration {
	if answers != s.answers || !waiting {
		s.answers, s.since = answers, now
	}
	return now.Sub(s.since)
}

// elsewhere goes to another server: one that is cut off from its cluster still
// lets its clients talk, and would keep us for ever.
func (s *session) elsewhere() {
	if !s.nc.IsConnected() || len(s.nc.Servers()) < 2 {
		return
	}
	s.log.Warn().Str("event", "nats.moved").Str("from", s.nc.ConnectedAddr()).AnErr("error", s.nc.ForceReconnect()).Send()
}

func (s *session) look(ctx context.Context) error {
	if s.backlog == nil {
		s.window.probe()
	}
	bytes, doomed, err := s.side.lag(ctx)
	if err != nil {
		return err
	}
	s.counts.lag.Store(bytes)
	before := s.looked
	s.looked = s.keep.position()
	if doomed && s.looked == before {
		return errDoomed
	}
	return nil
}

// errDoomed ends a session that takes nothing while its slot is about to be lost:
// the checkpoint that takes the log away would wait for us, and the log would grow
// without a bound.
var errDoomed = errors.New("the log of the slot is about to be dropped, and nothing is stored: the stream is given back")

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
