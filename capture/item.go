package capture

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/outbox"
	"go.opentelemetry.io/otel/trace"
)

// item is one event on its way into the outbox. Its id stays the same over all
// attempts: that is how one that was stored unheard is told from one that was not.
type item struct {
	event  outbox.Event
	call   *event.Interaction // the event's payload
	span   trace.Span         // of the call, for whoever traces the database
	since  time.Time
	detail bool          // the payload still holds what a hook may have got wrong
	tried  chan struct{} // closed after the first attempt
	state  atomic.Int32

	prepared *outbox.Prepared // event, once it is checked; not while it waits in the backlog
	weight   int              // size, as the backlog counts it
}

// Where an item stands.
//
//	pending ──stored──▶ ended, captured
//	   │  ╲──refused──▶ ended, lost
//	   │ the call went on without it
//	   ▼
//	waiting ──stored──▶ ended, late
//	      ╲──refused, too old, no room, closed──▶ ended, lost
const (
	pending int32 = iota
	waiting
	ended
)

func (r *Recorder) item(ctx context.Context, o *observation, d Details) *item {
	call := o.interaction(d)
	return &item{
		call: call, span: trace.SpanFromContext(ctx), since: time.Now(), tried: make(chan struct{}),
		detail: call.AdditionalInfo != nil || call.CorrelationID != "",
		event: outbox.Event{
			ID: outbox.NewID(), TenantID: r.cfg.TenantID, Ecosystem: r.cfg.Ecosystem, Type: event.InteractionCompleted, Version: 1,
			OccurredAt: o.at, CorrelationID: call.CorrelationID, Traceparent: o.trace, Source: r.cfg.Source,
			Payload: call, // not its bytes: Append rewrites those in place
		},
	}
}

// size is about what the item holds in memory.
func (it *item) size() int { return 1024 + len(it.call.AdditionalInfo) }

var errPanicked = errors.New("the pool panicked")

// check prepares it, where that is still to be done. An event that the outbox
// refuses goes in without the hooks' words, where it has any: a person can mend a
// poor row, and nobody a missing one.
func (r *Recorder) check(it *item) error {
	if it.prepared != nil {
		return nil
	}
	err := it.prepare()
	if judge(err) == refused && it.detail {
		r.detailDropped(it.call.Role, it.call.Endpoint, field(err), cause(err))
		it.bare()
		err = it.prepare()
	}
	return err
}

// prepare runs beside the bank's own code, which a panic must not reach.
func (it *item) prepare() (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	p, err := outbox.Prepare(it.event)
	if err == nil {
		it.prepared = &p
	}
	return err
}

// bare takes the words of hooks off, but leaves the ids, which were checked.
func (it *item) bare() {
	it.detail = false
	it.event.CorrelationID, it.call.CorrelationID, it.call.AdditionalInfo = "", "", nil
}
