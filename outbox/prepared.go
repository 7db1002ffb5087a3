package outbox

import (
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// Prepared is an event that was found good and is ready to be written. It is for
// who writes the events of many in one transaction: one that is refused is told
// to its owner beforehand, and costs the others nothing.
type Prepared struct {
	event Event // with its defaults
	env   *event.Envelope
}

// Prepare checks e as Append does and refuses with the same *InvalidError.
func Prepare(e Event) (Prepared, error) {
	p, invalid := prepare(e, time.Now())
	if invalid != nil {
		return Prepared{}, invalid
	}
	return p, nil
}

func prepare(e Event, now time.Time) (Prepared, *InvalidError) {
	if e.Version == 0 {
		e.Version = 1
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = now
	}
	if !event.ValidTraceparent(e.Traceparent) {
		e.Traceparent = "" // a broken trace must not cost the event
	}
	env, invalid := envelope(e, now)
	return Prepared{e, env}, invalid
}

// Queue adds events to b as one statement, so that they share a round trip with
// whatever else is in b. Nothing is appended before the transaction that sends b
// commits.
func Queue(b *pgx.Batch, events ...Prepared) {
	if len(events) == 0 {
		return
	}
	rows := newRows(len(events))
	for _, p := range events {
		rows.put(p)
	}
	b.Queue(sqlAppend, rows.args())
}
