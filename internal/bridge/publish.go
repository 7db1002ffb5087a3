package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go/jetstream"
)

// sent is what became of a batch.
type sent struct {
	mu                        sync.Mutex
	stored, duplicate, failed int
	never                     []*parcel
	err                       error // the first: they fail alike
}

// publish gives each row to its stream and waits for every PubAck.
func (s *Service) publish(ctx context.Context, rows [][]byte) *sent {
	var all sent
	var group sync.WaitGroup
	for _, body := range rows {
		p := pack(s.route, body)
		if p.msg == nil {
			all.settle(p, nil, nil)
			continue
		}
		select {
		case s.flying <- struct{}{}:
			group.Go(func() {
				defer func() { <-s.flying }()
				ack, err := s.publishOne(ctx, p)
				all.settle(p, ack, err)
			})
		case <-ctx.Done(): // what is left comes again with the batch
			all.settle(p, nil, fmt.Errorf("wait for a place: %w", ctx.Err()))
		}
	}
	group.Wait()
	return &all
}

func (s *Service) publishOne(ctx context.Context, p *parcel) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	return s.js.PublishMsg(ctx, p.msg, jetstream.WithExpectStream(p.stream))
}

// settle notes what became of one row.
func (a *sent) settle(p *parcel, ack *jetstream.PubAck, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case p.why != "":
		a.never = append(a.never, p)
	case transport.TooLarge(err):
		p.never(event.TooLarge, fmt.Sprintf("a message of %d bytes", len(p.body)))
		a.never = append(a.never, p)
	case err != nil:
		a.failed++
		if a.err == nil || errors.Is(a.err, context.DeadlineExceeded) { // a reason says more than a silence
			a.err = fmt.Errorf("publish to stream %s: %w", p.stream, err)
		}
	case ack.Duplicate:
		a.duplicate++
	default:
		a.stored++
	}
}
