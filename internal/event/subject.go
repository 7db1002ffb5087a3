package event

import (
	"regexp"
	"strings"
)

// Ecosystems an event can belong to.
const (
	OFB      = "ofb"
	OPIN     = "opin"
	Platform = "platform"
)

// PlatformTenant is the reserved tenant of event-runtime's own events.
const PlatformTenant = "platform"

// InteractionFamily is the first token of captured API calls. They travel apart
// from all other events.
const InteractionFamily = "interaction"

var (
	tenantPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
	typePattern        = regexp.MustCompile(`^[a-z0-9_-]+([.][a-z0-9_-]+)*$`)
	traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// ValidTenant reports a NATS-safe slug (the CHECK of outbox.tenant_id).
func ValidTenant(s string) bool { return tenantPattern.MatchString(s) }

// ValidType reports a dotted type without empty tokens (the CHECK of outbox.event_type).
func ValidType(s string) bool { return len(s) <= 100 && typePattern.MatchString(s) }

// ValidTraceparent reports a well-formed W3C traceparent (the CHECK of outbox.traceparent).
func ValidTraceparent(s string) bool { return len(s) == 55 && traceparentPattern.MatchString(s) }

// ValidEcosystem reports one of the ecosystems of the outbox.
func ValidEcosystem(s string) bool { return s == OFB || s == OPIN || s == Platform }

// Family is the first token of a type, the unit of entitlement; "" when the
// type has one token only, which no consumer is entitled to.
func Family(eventType string) string {
	family, _, ok := strings.Cut(eventType, ".")
	if !ok {
		return ""
	}
	return family
}

// Subject is where an event is published:
// interactions.<tenant>.<ecosystem> for captured calls,
// events.<tenant>.<ecosystem>.<type> for everything else.
func Subject(tenant, ecosystem, eventType string) string {
	if Family(eventType) == InteractionFamily {
		return "interactions." + tenant + "." + ecosystem
	}
	return "events." + tenant + "." + ecosystem + "." + eventType
}

// Address is what a subject says. Type is empty for interactions.
type Address struct{ Tenant, Ecosystem, Type string }

// ParseSubject reads a subject as a consumer sees it: events arrive under
// p.<partition>., which the stream EVENTS puts in front.
func ParseSubject(subject string) (Address, bool) {
	if rest, ok := strings.CutPrefix(subject, "p."); ok {
		partition, events, ok := strings.Cut(rest, ".")
		if !ok || !digits(partition) || !strings.HasPrefix(events, "events.") {
			return Address{}, false
		}
		subject = events
	}
	kind, rest, _ := strings.Cut(subject, ".")
	tenant, rest, _ := strings.Cut(rest, ".")
	ecosystem, eventType, more := strings.Cut(rest, ".")
	a := Address{tenant, ecosystem, eventType}
	switch {
	case !ValidTenant(tenant) || !ValidEcosystem(ecosystem):
		return Address{}, false
	case kind == "interactions":
		return a, !more
	case kind == "events":
		return a, more && ValidType(eventType)
	default:
		return Address{}, false
	}
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
