package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// session is one life of the connections to Postgres. What it has published and
// not confirmed when it ends, the next one reads and publishes again.
type session struct {
	*Relay
	side   *side
	feed   *feed
	window *window
	inbox  string
	looked uint64 // the position at the last look; owned by tend
	token  string // of no other session's groups
	groups *groups

	keep    keeper   // the window, or the backlog
	backlog *backlog // of a webhook; nil with NATS

	answers     atomic.Int64     // that are a stream's decision
	asked       chan struct{}    // the server wants to hear from us
	reconnected chan nats.Status // PubAcks on their way were lost
}

// errStopped ends reading at shutdown.
var errStopped = errors.New("stopped")

// session streams until ctx ends or something breaks.
func (r *Relay) session(ctx context.Context, w *window) error {
	side, err := openSide(ctx, r.cfg.DatabaseURL, r.plan)
	if err != nil {
		return err
	}
	defer side.close(ctx)
	if err := r.settleSlot(ctx, side); err != nil {
		return err
	}
	feed, err := openFeed(ctx, r.cfg.DatabaseURL, r.plan, r.largest(), r.cfg.StallFor) // a larger row has no room with us either
	if err != nil {
		return err
	}
	defer feed.close()
	w.reset(time.Now())
	s := &session{Relay: r, side: side, feed: feed, window: w, groups: newGroups(r.cfg), asked: make(chan struct{}, 1)}
	detach, err := s.attach(ctx)
	if err != nil {
		return err
	}
	defer detach()
	r.idle.Store(nil)
	r.log.Info().Str("event", "relay.connected").Str("publication", r.plan.publication).Str("sink", r.plan.sink.Name).Send()
	return s.run(ctx)
}

// run has two contexts: the first stops reading, the second cuts off the work in
// hand.
func (s *session) run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, work := errgroup.WithContext(work)
	reading, stop := context.WithCancel(work)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	group.Go(func() error { return s.confirm(work) })
	if s.backlog != nil {
		group.Go(func() error { return s.serve(work) })
		group.Go(func() error { return s.watch(work) })
	} else {
		group.Go(func() error { return s.tend(work) })
		group.Go(func() error { return s.gather(work) })
	}
	group.Go(func() error {
		err := s.follow(reading)
		if ctx.Err() != nil {
			s.drain(work)
			return errStopped
		}
		return err
	})
	err := group.Wait()
	if !errors.Is(err, errStopped) {
		return err
	}
	return s.leave(ctx)
}

// drain waits for the answers that are on their way. Without a connection none
// is.
func (s *session) drain(ctx context.Context) {
	bound := time.NewTimer(s.cfg.DrainFor)
	defer bound.Stop()
	for s.reachable() && s.keep.outstanding() > 0 {
		select {
		case <-s.keep.vacant():
		case <-bound.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// leave tells the server how far we have come, and hangs up.
func (s *session) leave(ctx context.Context) error {
	if lsn := s.keep.position(); lsn > 0 {
		s.promise(ctx, lsn)
		if err := s.feed.confirm(lsn, time.Now()); err != nil {
			return err
		}
		s.counts.confirmed.Store(lsn)
	}
	s.feed.finish()
	return nil
}
