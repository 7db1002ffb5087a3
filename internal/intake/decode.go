package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/outbox"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// wire is one event of a request: the parameters of append_event, by name.
type wire struct {
	EventID          string         `json:"event_id"`
	TenantID         *string        `json:"tenant_id"` // may be left out: the token says it
	Ecosystem        string         `json:"ecosystem"`
	Type             string         `json:"event_type"`
	Version          int            `json:"version"`
	OccurredAt       *string        `json:"occurred_at"`
	AggregateType    string         `json:"aggregate_type"`
	AggregateID      string         `json:"aggregate_id"`
	AggregateVersion *int64         `json:"aggregate_version"`
	IdempotencyKey   string         `json:"idempotency_key"`
	CorrelationID    string         `json:"correlation_id"`
	Traceparent      string         `json:"traceparent"`
	Source           string         `json:"source"`
	Subject          jsontext.Value `json:"subject"`
	Payload          jsontext.Value `json:"payload"`
}

// decode reads a body, and refuses what is no batch of from's own events. What
// the events say is outbox.Append's business.
func (s *Service) decode(body []byte, from string) ([]outbox.Event, *api.Problem) {
	var batch struct {
		Events []jsontext.Value `json:"events"`
	}
	// Strict: a key that is there twice would be hashed as one thing and stored
	// as another.
	if err := jsonv2.Unmarshal(body, &batch, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, unreadable(position(err))
	}
	if len(batch.Events) == 0 || len(batch.Events) > s.cfg.MaxEvents {
		return nil, countOut(s.cfg.MaxEvents)
	}
	events := make([]outbox.Event, len(batch.Events))
	var invalid, foreign []api.Refusal
	for i, raw := range batch.Events {
		var w wire
		if err := w.read(raw); err != nil {
			invalid = append(invalid, misshapen(i, err))
			continue
		}
		var refusal *api.Refusal
		switch events[i], refusal = w.event(from); {
		case events[i].TenantID != from:
			foreign = append(foreign, api.Refusal{Index: i, Field: "tenant_id", Reason: "foreign_tenant", Hint: "the token is another tenant's"})
		case refusal != nil:
			refusal.Index = i
			invalid = append(invalid, *refusal)
		}
	}
	switch {
	case len(foreign) > 0:
		return nil, foreignTenant(foreign)
	case len(invalid) > 0: // a producer mends all of them at once
		return nil, refused(unappendable(events, invalid))
	}
	return events, nil
}

// unappendable adds to refusals what outbox.Append would refuse of the other
// events.
func unappendable(events []outbox.Event, refusals []api.Refusal) []api.Refusal {
	known := map[int]bool{}
	for _, r := range refusals {
		known[r.Index] = true
	}
	for i, e := range events {
		var invalid *outbox.InvalidError
		if _, err := outbox.Prepare(e); !known[i] && errors.As(err, &invalid) {
			refusals = append(refusals, api.Refusal{Index: i, Field: invalid.Field, Reason: invalid.Reason, Hint: invalid.Hint})
		}
	}
	slices.SortFunc(refusals, func(a, b api.Refusal) int { return a.Index - b.Index })
	return refusals
}

var errNoObject = errors.New("no object")

func (w *wire) read(raw jsontext.Value) error {
	if raw.Kind() != '{' {
		return errNoObject // null would be an event that says nothing
	}
	return jsonv2.Unmarshal(raw, w, jsonv2.RejectUnknownMembers(true))
}

// event is what outbox.Append takes.
func (w wire) event(from string) (outbox.Event, *api.Refusal) {
	e := outbox.Event{ID: w.EventID, TenantID: from, Ecosystem: w.Ecosystem, Type: w.Type, Version: w.Version,
		AggregateType: w.AggregateType, AggregateID: w.AggregateID, AggregateVersion: w.AggregateVersion, IdempotencyKey: w.IdempotencyKey,
		CorrelationID: w.CorrelationID, Traceparent: w.Traceparent, Source: w.Source,
		Subject: json.RawMessage(w.Subject), Payload: json.RawMessage(w.Payload)}
	if w.TenantID != nil {
		e.TenantID = *w.TenantID
	}
	if w.OccurredAt != nil {
		at, err := event.ParseTime(*w.OccurredAt)
		if err != nil {
			return e, &api.Refusal{Field: "occurred_at", Reason: string(event.SchemaInvalid), Hint: "RFC 3339, in the years 1 to 9999"}
		}
		e.OccurredAt = at
	}
	return e, nil
}

// members are the names that an event may have.
var members = func() map[string]bool {
	all := map[string]bool{}
	for field := range reflect.TypeFor[wire]().Fields() {
		all[field.Tag.Get("json")] = true
	}
	return all
}()

// misshapen names a member only if it is one of ours: another may be anything.
func misshapen(index int, err error) api.Refusal {
	var wrong *jsonv2.SemanticError
	if errors.As(err, &wrong) {
		if name := strings.TrimPrefix(string(wrong.JSONPointer), "/"); members[name] {
			return api.Refusal{Index: index, Field: name, Reason: string(event.SchemaInvalid), Hint: "of another JSON type"}
		}
	}
	return api.Refusal{Index: index, Field: "event", Reason: string(event.SchemaInvalid), Hint: "an object with the parameters of append_event, and nothing else"}
}

// position says where a body stops being a batch, and never what stands there.
func position(err error) string {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("no JSON object (or one with a name twice, or not in UTF-8) at byte %d", syntax.ByteOffset)
	}
	return `want {"events": [...]}, and nothing else`
}
