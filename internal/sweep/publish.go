package sweep

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	askWithin = 10 * time.Second // for one answer of JetStream
	atOnce    = 64               // messages without a PubAck

	longestSubject = route.LongestSubject
)

// parkedBy is how quarantine names what could not be published: the same row,
// whether the relay or the sweeper met it.
const parkedBy = quarantine.Unpublished

// sent is what became of the messages of one page.
type sent struct {
	mu     sync.Mutex
	stored []Key
	never  []quarantine.Entry
}

// publish gives each event to its stream, and waits for every PubAck. What a
// stream has taken is told also when the rest failed.
func (s *Sweeper) publish(ctx context.Context, keys []Key) ([]Key, []quarantine.Entry, error) {
	rows, err := s.rows(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	var all sent
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, r := range rows {
		g.Go(func() error { return s.publishOne(ctx, r, &all) })
	}
	err = g.Wait() // the first of them: they fail alike
	return all.stored, all.never, err
}

func (s *Sweeper) publishOne(ctx context.Context, r row, all *sent) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	msg := s.encoder.message(r)
	var ack *jetstream.PubAck
	err := nats.ErrMaxPayload
	if len(msg.Subject) <= longestSubject {
		ack, err = s.Publisher.PublishMsg(ctx, msg, jetstream.WithExpectStream(streamOf(r)))
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	switch {
	case err == nil:
		all.stored = append(all.stored, r.Key)
		s.metrics.published(ctx, ack.Duplicate)
		return nil
	case transport.TooLarge(err):
		all.never = append(all.never, parked(r, msg))
		s.metrics.failed(ctx, "parked")
		return nil
	default:
		s.metrics.failed(ctx, "failed")
		return fmt.Errorf("publish: %w", err)
	}
}

// parked says which event can never be published, and nothing of what is in it.
func parked(r row, msg *nats.Msg) quarantine.Entry {
	sum := sha256.Sum256(msg.Data)
	return quarantine.Entry{Stage: quarantine.Ingest, Consumer: parkedBy, Key: r.ID.String(), TenantID: r.Tenant, EventID: &r.ID, RecordedOn: &r.Day,
		Reason: string(event.TooLarge), Detail: fmt.Sprintf("a message of %d bytes on a subject of %d", len(msg.Data), len(msg.Subject)),
		Subject: msg.Subject[:min(len(msg.Subject), longestSubject)], SHA256: sum[:], Bytes: len(msg.Data)}
}
