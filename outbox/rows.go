package outbox

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// rows are events turned on their side: one array a column.
type rows struct {
	id                                                                 []event.ID
	tenant, ecosystem, eventType                                       []string
	version                                                            []int32
	occurred                                                           []time.Time
	aggType, aggID, idemKey, correlation, trace, source, subj, payload []*string
	aggVersion                                                         []*int64
}

func newRows(n int) *rows { return &rows{id: make([]event.ID, 0, n), payload: make([]*string, 0, n)} }

var catalog = sync.OnceValues(event.NewCatalog)

// add checks e as a consumer will and appends its columns.
func (r *rows) add(e Event, now time.Time) (event.ID, *InvalidError) {
	p, invalid := prepare(e, now)
	if invalid != nil {
		return event.ID{}, invalid
	}
	r.put(p)
	return p.env.EventID, nil
}

func (r *rows) put(p Prepared) {
	e, env := p.event, p.env
	r.id = append(r.id, env.EventID)
	r.tenant, r.ecosystem, r.eventType = append(r.tenant, e.TenantID), append(r.ecosystem, e.Ecosystem), append(r.eventType, e.Type)
	r.version, r.occurred = append(r.version, int32(e.Version)), append(r.occurred, e.OccurredAt)
	r.aggType, r.aggID, r.aggVersion = append(r.aggType, nullable(e.AggregateType)), append(r.aggID, nullable(e.AggregateID)), append(r.aggVersion, e.AggregateVersion)
	r.idemKey, r.correlation = append(r.idemKey, nullable(e.IdempotencyKey)), append(r.correlation, nullable(e.CorrelationID))
	r.trace, r.source = append(r.trace, nullable(e.Traceparent)), append(r.source, nullable(e.Source))
	r.subj, r.payload = append(r.subj, nullable(string(env.Subject))), append(r.payload, nullable(string(env.Payload)))
}

func (r *rows) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"event_id": r.id, "tenant_id": r.tenant, "ecosystem": r.ecosystem, "event_type": r.eventType, "version": r.version,
		"occurred_at": r.occurred, "aggregate_type": r.aggType, "aggregate_id": r.aggID, "aggregate_version": r.aggVersion,
		"idempotency_key": r.idemKey, "correlation_id": r.correlation, "traceparent": r.trace, "source": r.source,
		"subject": r.subj, "payload": r.payload,
	}
}

// envelope builds what a consumer would decode, and holds it against the same
// rules: what would end in quarantine is refused here.
func envelope(e Event, now time.Time) (*event.Envelope, *InvalidError) {
	id := event.NewID(now)
	if e.ID != "" {
		parsed, err := event.ParseID(e.ID)
		if err != nil || !parsed.IsV7() {
			return nil, &InvalidError{Field: "event_id", Reason: "schema_invalid", Hint: "a UUIDv7; see NewID"}
		}
		id = parsed
	}
	env := &event.Envelope{
		TenantID: e.TenantID, RecordedOn: id.Day(), EventID: id, Ecosystem: e.Ecosystem, Type: e.Type, Version: e.Version, OccurredAt: e.OccurredAt.UTC(),
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, AggregateVersion: e.AggregateVersion,
		IdempotencyKey: e.IdempotencyKey, CorrelationID: e.CorrelationID, Traceparent: e.Traceparent, Source: e.Source,
	}
	var err error
	if env.Payload, err = marshal(e.Payload); err != nil || len(env.Payload) == 0 {
		return nil, &InvalidError{Field: "payload", Reason: "unreadable", Hint: "must marshal to JSON"}
	}
	if env.Subject, err = marshal(e.Subject); err != nil {
		return nil, &InvalidError{Field: "subject", Reason: "unreadable", Hint: "must marshal to JSON"}
	}
	for _, check := range []func() error{env.Check, func() error { return known(env) }} {
		if err := check(); err != nil {
			return nil, refused(err)
		}
	}
	texts := freeText(env)
	for _, name := range slices.Sorted(maps.Keys(texts)) { // the same event, the same answer
		if _, found := denylist.Find(texts[name]); found {
			return nil, &InvalidError{Field: name, Reason: "personal_data", Hint: "labels and keys must not hold personal data"}
		}
	}
	return env, nil
}

// known holds the payload against its schema where this release has one. A type
// without one is some other consumer's business.
func known(env *event.Envelope) error {
	c, err := catalog()
	if err != nil {
		return err
	}
	err = c.Check(env)
	var d *event.Defect
	if errors.As(err, &d) && d.Reason == event.SchemaUnknown {
		return nil
	}
	return err
}

// freeText is what a person may have written, by its name.
func freeText(env *event.Envelope) map[string]string {
	texts := env.FreeText()
	if env.Type != event.InteractionCompleted {
		return texts
	}
	if i, err := event.ParseInteraction(env.Payload); err == nil {
		for path, text := range i.FreeText() {
			texts["payload."+path] = text
		}
	}
	return texts
}

func refused(err error) *InvalidError {
	var d *event.Defect
	if !errors.As(err, &d) {
		return &InvalidError{Field: "event", Reason: "unreadable", Hint: err.Error()}
	}
	return &InvalidError{Field: strings.TrimPrefix(d.Where, "record."), Reason: string(d.Reason), Hint: "see docs/events.md"}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
