package event

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Envelope is one outbox row as it travels. Payload and Subject are in RFC 8785
// form (keys sorted, fractions through float64), so equal events are equal bytes
// whichever relay carried them.
type Envelope struct {
	TenantID         string
	RecordedOn       time.Time // a UTC day, always the day inside EventID
	EventID          ID
	Ecosystem        string
	Type             string
	Version          int
	OccurredAt       time.Time
	AggregateType    string
	AggregateID      string
	AggregateVersion *int64
	IdempotencyKey   string
	CorrelationID    string
	Traceparent      string
	Source           string
	Subject          jsontext.Value // nil when NULL
	Payload          jsontext.Value
}

// record is the row inside a message. A column that is not here is ignored: the
// next release may have added it.
type record struct {
	TenantID         string         `json:"tenant_id"`
	RecordedOn       string         `json:"recorded_on"`
	EventID          string         `json:"event_id"`
	Ecosystem        string         `json:"ecosystem"`
	EventType        string         `json:"event_type"`
	Version          int            `json:"version"`
	OccurredAt       string         `json:"occurred_at"`
	AggregateType    *string        `json:"aggregate_type"`
	AggregateID      *string        `json:"aggregate_id"`
	AggregateVersion *int64         `json:"aggregate_version"`
	IdempotencyKey   *string        `json:"idempotency_key"`
	CorrelationID    *string        `json:"correlation_id"`
	Traceparent      *string        `json:"traceparent"`
	Source           *string        `json:"source"`
	Subject          jsontext.Value `json:"subject"`
	Payload          jsontext.Value `json:"payload"`
}

// Decode reads a message body. Only the record is relied upon: log positions and
// metadata differ between change data capture, backfill and sweep.
func Decode(body []byte) (*Envelope, error) {
	if len(body) > maxMessage {
		return nil, &Defect{TooLarge, "message"}
	}
	if tooDeep(body) {
		return nil, &Defect{Unreadable, "depth"}
	}
	var msg struct {
		Record jsontext.Value `json:"record"`
	}
	if err := json.Unmarshal(body, &msg); err != nil {
		return nil, unreadable(err)
	}
	if msg.Record.Kind() != '{' {
		return nil, &Defect{SchemaInvalid, "record"}
	}
	if at := unstorable(msg.Record); at >= 0 { // before numbers are read: a column may hold one too
		return nil, &Defect{Unstorable, "record byte " + strconv.Itoa(at)}
	}
	var r record
	if err := json.Unmarshal(msg.Record, &r); err != nil {
		var wrong *json.SemanticError
		if errors.As(err, &wrong) {
			return nil, &Defect{SchemaInvalid, "record" + path(wrong.JSONPointer)}
		}
		return nil, unreadable(err)
	}
	return r.envelope()
}

// envelope turns columns into an Envelope and checks it.
func (r *record) envelope() (*Envelope, error) {
	e := &Envelope{
		TenantID: r.TenantID, Ecosystem: r.Ecosystem, Type: r.EventType, Version: r.Version,
		AggregateType: text(r.AggregateType), AggregateID: text(r.AggregateID), AggregateVersion: r.AggregateVersion,
		IdempotencyKey: text(r.IdempotencyKey), CorrelationID: text(r.CorrelationID), Source: text(r.Source),
		Subject: r.Subject, Payload: r.Payload,
	}
	var err error
	if e.EventID, err = ParseID(r.EventID); err != nil {
		return nil, &Defect{SchemaInvalid, "record.event_id"}
	}
	if e.RecordedOn, err = time.Parse(time.DateOnly, r.RecordedOn); err != nil {
		return nil, &Defect{SchemaInvalid, "record.recorded_on"}
	}
	if e.OccurredAt, err = ParseTime(r.OccurredAt); err != nil {
		return nil, timeDefect(err, r.OccurredAt, "record.occurred_at")
	}
	if trace := text(r.Traceparent); ValidTraceparent(trace) {
		e.Traceparent = trace // a broken one starts a new trace; the event is unharmed
	}
	return e, e.Check()
}

// Check holds e against the outbox's CHECKs (they are part of the contract, and
// what does not come from our outbox may break them) and brings Payload and
// Subject into RFC 8785 form.
func (e *Envelope) Check() error {
	switch {
	case !ValidTenant(e.TenantID):
		return &Defect{SchemaInvalid, "record.tenant_id"}
	case !ValidEcosystem(e.Ecosystem):
		return &Defect{SchemaInvalid, "record.ecosystem"}
	case !ValidType(e.Type):
		return &Defect{SchemaInvalid, "record.event_type"}
	case e.Version < math.MinInt32 || e.Version > math.MaxInt32:
		return &Defect{SchemaInvalid, "record.version"}
	case !e.EventID.IsV7():
		return &Defect{SchemaInvalid, "record.event_id"}
	case !e.RecordedOn.Equal(e.EventID.Day()):
		return &Defect{SchemaInvalid, "record.recorded_on"}
	case e.OccurredAt.Year() < 1 || e.OccurredAt.Year() > 9999:
		return &Defect{Unstorable, "record.occurred_at"}
	case e.AggregateVersion != nil && (*e.AggregateVersion > maxSafe || *e.AggregateVersion < -maxSafe):
		return &Defect{Unstorable, "record.aggregate_version"}
	case len(e.Payload) == 0:
		return &Defect{SchemaInvalid, "record.payload"}
	}
	for name, s := range e.texts() {
		if strings.Contains(s, "\x00") || !utf8.ValidString(s) {
			return &Defect{Unstorable, "record." + name}
		}
	}
	if err := canonicalize(&e.Payload, "record.payload"); err != nil {
		return err
	}
	if e.Subject.Kind() == 'n' || len(e.Subject) == 0 {
		e.Subject = nil
		return nil
	}
	return canonicalize(&e.Subject, "record.subject")
}

// canonicalize brings a document into RFC 8785 form, unless that would change
// what it says.
func canonicalize(v *jsontext.Value, where string) error {
	if len(*v) > maxRaw {
		return &Defect{TooLarge, where}
	}
	if tooDeep(*v) {
		return &Defect{Unreadable, where}
	}
	if unstorable(*v) >= 0 {
		return &Defect{Unstorable, where}
	}
	if err := v.Canonicalize(); err != nil {
		return unreadable(err)
	}
	if textSize(*v) > maxPayload {
		return &Defect{TooLarge, where}
	}
	return nil
}

// Key is where the event is published.
func (e *Envelope) Key() string { return Subject(e.TenantID, e.Ecosystem, e.Type) }

var errYear = errors.New("year outside 1 to 9999")

// ParseTime reads RFC 3339 within the years 1 to 9999, as UTC.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, err
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errYear
	}
	return t, nil
}

// timeDefect tells a time that cannot be kept from one that is written wrongly.
func timeDefect(err error, s, where string) *Defect {
	year, _, _ := strings.Cut(s, "-")
	if errors.Is(err, errYear) || strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") || digits(year) && len(year) > 4 || strings.HasSuffix(s, "BC") {
		return &Defect{Unstorable, where}
	}
	return &Defect{SchemaInvalid, where}
}

// unreadable names the position of a syntax error, never what stands there.
func unreadable(err error) *Defect {
	var syntax *jsontext.SyntacticError
	var wrong *json.SemanticError
	switch {
	case errors.As(err, &syntax):
		return &Defect{Unreadable, "byte " + strconv.FormatInt(syntax.ByteOffset, 10)}
	case errors.As(err, &wrong):
		return &Defect{Unreadable, "message" + path(wrong.JSONPointer)}
	default:
		return &Defect{Unreadable, "message"}
	}
}

func path(p jsontext.Pointer) string { return strings.ReplaceAll(string(p), "/", ".") }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// FreeText are the columns that a person may have filled in, by name. They are
// searched for personal data; the payload is held by the schema of its type.
func (e *Envelope) FreeText() map[string]string {
	texts := e.texts()
	delete(texts, "aggregate_id") // the producer's own identifier of the thing
	return texts
}

func (e *Envelope) texts() map[string]string {
	return map[string]string{
		"aggregate_type": e.AggregateType, "aggregate_id": e.AggregateID, "source": e.Source,
		"correlation_id": e.CorrelationID, "idempotency_key": e.IdempotencyKey,
	}
}
