package event

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Hash is what two copies of one event are compared by: SHA-256 of the RFC 8785
// form of the business columns. recorded_at and traceparent are left out: they
// say when and within which trace, not what.
func (e *Envelope) Hash() [32]byte { return sha256.Sum256(e.canonical()) }

func (e *Envelope) canonical() []byte {
	b := make([]byte, 0, 512+len(e.Payload)+len(e.Subject))
	// Keys in the order RFC 8785 sorts them.
	b = member(b, '{', "aggregate_id", e.AggregateID)
	b = member(b, ',', "aggregate_type", e.AggregateType)
	b = append(b, `,"aggregate_version":`...)
	if e.AggregateVersion == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *e.AggregateVersion, 10)
	}
	b = member(b, ',', "correlation_id", e.CorrelationID)
	b = member(b, ',', "ecosystem", e.Ecosystem)
	b = member(b, ',', "event_id", e.EventID.String())
	b = member(b, ',', "event_type", e.Type)
	b = member(b, ',', "idempotency_key", e.IdempotencyKey)
	b = member(b, ',', "occurred_at", e.OccurredAt.UTC().Format(microseconds))
	b = append(b, `,"payload":`...)
	b = append(b, e.Payload...)
	b = member(b, ',', "recorded_on", e.RecordedOn.Format(time.DateOnly))
	b = member(b, ',', "source", e.Source)
	b = append(b, `,"subject":`...)
	if e.Subject == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, e.Subject...)
	}
	b = member(b, ',', "tenant_id", e.TenantID)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, int64(e.Version), 10)
	return append(b, '}')
}

// microseconds is how Postgres keeps a timestamp and relays print it.
const microseconds = "2006-01-02T15:04:05.000000Z"

// member appends one string member; an empty string is a NULL column.
func member(b []byte, before byte, name, value string) []byte {
	b = append(b, before, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if value == "" {
		return append(b, "null"...)
	}
	b, _ = jsontext.AppendQuote(b, value) // fails on bad UTF-8 only, which Decode refuses and Postgres cannot hold
	return b
}
