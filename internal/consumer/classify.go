package consumer

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/go-json-experiment/json"
)

// Reason is what became of a message. It is a closed set (ineligible rows add
// their own reason behind a colon): column, metric label and log field.
type Reason string

// Reasons beside those of event.Defect.
const (
	Accepted       Reason = "accepted"
	Duplicate      Reason = "duplicate"
	Canary         Reason = "canary"
	Ineligible     Reason = "ineligible"
	Conflict       Reason = "conflict"
	TenantUnknown  Reason = "tenant_unknown"
	TenantMismatch Reason = "tenant_mismatch"
	IDReused       Reason = "interaction_id_reused"
	HandlerPanic   Reason = "handler_panic"
)

// Message is what came in.
type Message struct {
	Subject   string
	Body      []byte
	MsgID     string // Nats-Msg-Id
	Stream    string
	Seq       uint64
	Delivered uint64
}

// Decision is what a message is. Exactly one of Outcome (a consumer row) and
// Reason's quarantine follows from it.
type Decision struct {
	Reason  Reason
	Why     string          // of an ineligible event
	Where   string          // of a defect: a path, never a value
	Event   *event.Envelope // nil when the message could not be read
	Hash    [32]byte
	Report  *submit.Report // of an accepted event
	Again   bool           // it was in quarantine already: nothing is new
	Message Message
}

// who is one event. An id is the producer's choice, so it says something within
// its tenant only.
type who struct {
	tenant string
	id     event.ID
}

// about is the event that d is about, as far as that can be told: a body that
// cannot be read may still have its id in the header and its tenant in the
// subject.
func (d Decision) about() (w who, known bool) {
	if d.Event != nil {
		return who{d.Event.TenantID, d.Event.EventID}, true
	}
	at, parsed := event.ParseSubject(d.Message.Subject)
	id, ok := d.Message.id()
	return who{at.Tenant, id}, parsed && ok
}

// sum is what d is compared by: the hash of the event, or of the bytes that
// cannot be read as one.
func (d Decision) sum() [32]byte {
	if d.Event != nil {
		return d.Hash
	}
	return sha256.Sum256(d.Message.Body)
}

// Row reports whether the decision is a consumer row, and its outcome.
func (d Decision) Row() (outcome string, ok bool) {
	switch d.Reason {
	case Accepted, Canary:
		return string(d.Reason), true
	case Ineligible:
		return "ineligible:" + d.Why, true
	default:
		return "", false
	}
}

// Quarantined reports whether a person must look at the message.
func (d Decision) Quarantined() bool {
	_, row := d.Row()
	return !row && d.Reason != Duplicate && d.Reason != Conflict
}

// Answer is what JetStream is told once the decision is a committed row.
type Answer int

// Answers.
const (
	Ack Answer = iota
	Term
)

// Answer follows from the reason alone.
func (d Decision) Answer() Answer {
	if d.Quarantined() || d.Reason == Conflict {
		return Term
	}
	return Ack
}

// Knowledge is what a message is held against.
type Knowledge struct {
	Catalog *event.Catalog
	Tenants *tenant.Snapshot
	Report  submit.Reporter
}

// Classify decides what a message is, as far as the message itself can tell.
// Meet adds what the database knows. It reads no clock and holds no state.
func Classify(m Message, k Knowledge) Decision {
	d := Decision{Message: m}
	e, err := event.Decode(m.Body)
	if err != nil {
		return d.defect(err)
	}
	d.Event, d.Hash = e, e.Hash()
	wrong := k.Catalog.Check(e)
	if unknown(wrong) {
		return d.defect(wrong)
	}
	// Before the schema: a payload that names another tenant is not merely a
	// member too many.
	if reason, where := belongs(m.Subject, e, k.Tenants); reason != "" {
		d.Reason, d.Where = reason, where
		return d
	}
	if wrong != nil {
		return d.defect(wrong)
	}
	if where, found := personal(e.FreeText()); found {
		return d.defect(&event.Defect{Reason: event.PersonalData, Where: "record." + where})
	}
	t, _ := k.Tenants.Tenant(e.TenantID)
	switch {
	case e.Type == event.InteractionCanary && t.Synthetic:
		d.Reason = Canary
		return d
	case e.Type == event.InteractionCanary:
		return d.defect(&event.Defect{Reason: event.SchemaInvalid, Where: "record.tenant_id"})
	}
	return d.reportable(t, k)
}

// reportable decides whether an event that is what it claims to be is reported.
func (d Decision) reportable(t tenant.Tenant, k Knowledge) Decision {
	switch {
	case t.Synthetic:
		return d.ineligible("synthetic_tenant")
	case t.State == tenant.Disabled:
		return d.ineligible("tenant_disabled")
	}
	report, err := k.Report.Report(d.Event, k.Tenants)
	var not submit.Ineligible
	switch {
	case errors.As(err, &not):
		return d.ineligible(string(not))
	case err != nil:
		return d.defect(err)
	}
	d.Reason, d.Report = Accepted, &report
	return d
}

// unknown reports a type or version without a schema in this release.
func unknown(err error) bool {
	var d *event.Defect
	return errors.As(err, &d) && d.Reason == event.SchemaUnknown
}

func (d Decision) ineligible(why string) Decision {
	d.Reason, d.Why = Ineligible, why
	return d
}

func (d Decision) defect(err error) Decision {
	var defect *event.Defect
	if !errors.As(err, &defect) {
		defect = &event.Defect{Reason: event.SchemaInvalid, Where: "record"}
	}
	d.Reason, d.Where = Reason(defect.Reason), defect.Where
	return d
}

// belongs holds subject, record and payload against each other: whoever could
// publish for another tenant must not be able to report for it.
func belongs(subject string, e *event.Envelope, tenants *tenant.Snapshot) (Reason, string) {
	at, ok := event.ParseSubject(subject)
	if !ok {
		return Reason(event.SchemaInvalid), "subject"
	}
	if at.Tenant != e.TenantID {
		return TenantMismatch, "subject"
	}
	var claimed struct {
		TenantID *string `json:"tenant_id"`
	}
	if bytes.Contains(e.Payload, []byte(`"tenant_id"`)) && json.Unmarshal(e.Payload, &claimed) == nil && claimed.TenantID != nil && *claimed.TenantID != e.TenantID {
		return TenantMismatch, "payload.tenant_id"
	}
	if at.Ecosystem != e.Ecosystem || at.Type != "" && at.Type != e.Type || at.Type == "" && event.Family(e.Type) != event.InteractionFamily {
		return Reason(event.SchemaInvalid), "subject"
	}
	if _, known := tenants.Tenant(e.TenantID); !known {
		return TenantUnknown, "record.tenant_id"
	}
	return "", ""
}

// personal names the first text, by its name, that looks like personal data.
func personal(texts map[string]string) (where string, found bool) {
	for name, value := range texts {
		if found && name > where {
			continue
		}
		if _, hit := denylist.Find(value); hit {
			where, found = name, true
		}
	}
	return where, found
}

// Stored is what the database already has about a decision's event.
type Stored struct {
	Inserted    bool      // our row was the first
	Hash        *[32]byte // of the row that is there
	Quarantined bool      // set aside before
	KeyTaken    bool      // another event has this report key
}

// Meet is the decision in the light of what is stored.
func Meet(d Decision, s Stored) Decision {
	_, row := d.Row()
	switch {
	case s.Inserted:
		return d
	case s.Hash != nil && d.Reason == HandlerPanic:
		d.Reason = Duplicate // we failed, not the event; its row is there
	case s.Hash != nil && (*s.Hash != d.sum() || d.Reason == TenantMismatch):
		d.Reason, d.Where = Conflict, "" // also a broken copy of an event that was fine
	case s.Hash != nil:
		// Whatever this release, or what is configured now, makes of it: it is the
		// event that was decided about.
		d.Reason, d.Where, d.Why = Duplicate, "", ""
	case !row:
		d.Again = s.Quarantined
		return d
	case s.Quarantined:
		d.Reason = Duplicate // it waits for a person
	case s.KeyTaken:
		d.Reason, d.Where = IDReused, "payload.fapiInteractionId"
	}
	if d.Reason != Accepted {
		d.Report = nil
	}
	return d
}
