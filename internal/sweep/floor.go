package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// floor asks JetStream how far a durable consumer is.
func (s *Sweeper) floor(ctx context.Context, d durable) (Floor, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	stream, err := s.JS.Stream(ctx, d.stream)
	if err != nil {
		return Floor{}, fmt.Errorf("look at the stream: %w", err)
	}
	c, err := stream.Consumer(ctx, d.consumer)
	if err != nil {
		return Floor{}, fmt.Errorf("look at the consumer: %w", err)
	}
	info := c.CachedInfo()
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return Floor{}, nil
	}
	next := info.AckFloor.Stream + 1
	msg, err := stream.GetMsg(ctx, next)
	switch {
	case err == nil:
		return Floor{Pending: true, Since: earliest(msg.Time, madeAt(msg))}, nil
	case errors.Is(err, jetstream.ErrMsgNotFound) && next < stream.CachedInfo().State.FirstSeq:
		return Floor{Pending: true, Since: stream.CachedInfo().State.FirstTime}, nil // the rest has left the stream
	default:
		return Floor{}, fmt.Errorf("look at message %d: %w", next, err)
	}
}

// madeAt is when the event of a message was made: a relay that was behind brings
// old events late.
func madeAt(msg *jetstream.RawStreamMsg) time.Time {
	if id, err := event.ParseID(msg.Header.Get(nats.MsgIdHdr)); err == nil && id.IsV7() {
		return id.Time()
	}
	return msg.Time
}
