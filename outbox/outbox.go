// Package outbox appends events to the outbox inside the producer's own
// transaction.
//
// Promise: an event that Append took exists if and only if tx commits; from
//
//	then on event-runtime delivers it to every consumer that is owed it.
//
// State:   none; the row is the state.
// Failure: what can never be delivered is refused here with an *InvalidError,
//
//	before the database is asked. A database error leaves tx unusable, as any
//	failed statement does: roll back.
//
// Other languages call the SQL function event_runtime.append_event instead,
// under the same role (runtime_producer).
package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// Event is one thing that happened. Only TenantID, Ecosystem, Type and Payload
// must be set.
type Event struct {
	ID               string    // a UUIDv7 made within the last 24 h; empty: made by Append
	TenantID         string    // ^[a-z0-9][a-z0-9-]{0,39}$
	Ecosystem        string    // ofb, opin or platform
	Type             string    // dotted, such as consent.advanced
	Version          int       // of the type's schema; 0 means 1
	OccurredAt       time.Time // zero means now
	AggregateType    string
	AggregateID      string
	AggregateVersion *int64 // consumers order by it: arrival has no order
	IdempotencyKey   string // the producer's own key, kept and shown; events are told apart by ID
	CorrelationID    string
	Traceparent      string // W3C; a malformed one is dropped
	Source           string
	Subject          any // whom it concerns: {profile_id, external_id}; nil for nobody
	Payload          any // marshalled by encoding/json; at most 256 KiB
}

// InvalidError is an event that Append refuses. It names the place and never
// the value.
type InvalidError struct {
	Index  int    // of the event in the call
	Field  string // such as tenant_id or payload.statusCode
	Reason string // a closed set: see docs/events.md
	Hint   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("outbox: event %d: %s: %s (%s)", e.Index, e.Field, e.Reason, e.Hint)
}

// NewID makes an id for an event that is appended now.
func NewID() string { return event.NewID(time.Now()).String() }

const sqlAppend = `
SELECT event_runtime.append_events(@event_id::uuid[], @tenant_id::text[], @ecosystem::text[], @event_type::text[], @version::int[],
       @occurred_at::timestamptz[], @aggregate_type::text[], @aggregate_id::text[], @aggregate_version::bigint[], @idempotency_key::text[],
       @correlation_id::text[], @traceparent::text[], @source::text[], @subject::text[], @payload::text[])`

// Append adds events in tx and returns their ids, in order. It is one round
// trip however many there are.
func Append(ctx context.Context, tx pgx.Tx, events ...Event) ([]string, error) {
	if len(events) == 0 {
		return nil, nil
	}
	rows := newRows(len(events))
	ids := make([]string, len(events))
	now := time.Now()
	for i, e := range events {
		id, err := rows.add(e, now)
		if err != nil {
			err.Index = i
			return nil, err
		}
		ids[i] = id.String()
	}
	if _, err := tx.Exec(ctx, sqlAppend, rows.args()); err != nil {
		return nil, fmt.Errorf("append %d events: %w", len(events), err)
	}
	return ids, nil
}

// marshal turns a payload into JSON. RawMessage and []byte are taken as JSON, and
// copied: they are the caller's, and will be rewritten into canonical form.
func marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []byte:
		return slices.Clone(v), nil
	case json.RawMessage:
		return slices.Clone(v), nil
	default:
		return json.Marshal(v)
	}
}
