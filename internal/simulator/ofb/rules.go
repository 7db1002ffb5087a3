package ofb

import (
	"time"

	"github.com/google/uuid"
)

// rules decide what happens to one item. They hold no state and read no clock.
type rules struct {
	registry  *registry
	catalogue catalogue // of private reports
	open      catalogue // of open data
	lenient   bool
	official  *official // nil: own rules only
}

// judge reads one item of a batch that caller sent. An empty message means accepted.
func (r *rules) judge(item value, caller uuid.UUID, now time.Time) (report, string) {
	if item.kind != object {
		return report{}, msgNotObject + item.kind.String()
	}
	c := check{rules: r, caller: caller, now: now}
	item.members(c.take)
	c.report.role = c.side()
	c.readFields()
	c.interactionPresent()
	c.parties()
	c.report.raw = item.raw
	if len(c.faults) == 0 && r.official != nil && r.official.accepts(item.raw, c.report) != nil {
		c.fault(msgUnmapped) // the own rules have a gap here; the caller learns as little as from PCM
	}
	return c.report, joinMessages(c.faults)
}

// check is the reading of one item.
type check struct {
	rules  *rules
	caller uuid.UUID
	now    time.Time

	at        [fieldCount]value
	strangers []string
	faults    []string

	family    string    // of the endpoint
	client    uuid.UUID // as sent; report.client is what the directory knows
	server    uuid.UUID
	statement uuid.UUID
	report    report
}

func (c *check) fault(message string) { c.faults = append(c.faults, message) }

// take sorts one member of the item. Of a repeated name the last one counts.
func (c *check) take(name []byte, v value) {
	if i, ok := fieldNamed(name); ok {
		c.at[i] = v
		return
	}
	c.strangers = append(c.strangers, string(name))
}

func (c *check) side() role {
	if v := c.at[fRole]; v.kind == text {
		return roleOf(v.text())
	}
	return noRole
}

func (c *check) readFields() {
	for i := range fields {
		f, v := &fields[i], c.at[i]
		switch need := f.of(c.report.role); {
		case v.kind == absent:
			if need == required {
				c.fault(msgRequired(f.name))
			}
		case need == forbidden:
			c.strangers = append(c.strangers, f.name)
		case v.kind != f.kind:
			c.fault(msgType(f.name, f.kind, v.kind))
		case v.kind == text && len(v.raw) == 2 && i != fCorrelation:
			c.empty(i)
		default:
			f.read(c, v)
		}
	}
	if len(c.strangers) > 0 {
		c.fault(msgStrangers(c.strangers))
	}
}

func (c *check) empty(i int) {
	if i == fStatement {
		c.fault(msgEmptyStatement)
		return
	}
	c.fault(msgEmpty(fields[i].name))
}

// interactionPresent comes after the other fields because two pages of the rules
// word the same fault differently: the security family by status code, the others not.
func (c *check) interactionPresent() {
	if c.at[fInteraction].kind != absent {
		return
	}
	if s := c.report.status; c.family == "security" && (s == 408 || s == 500) {
		c.fault(msgNoInteraction5)
		return
	}
	c.fault(msgNoInteraction)
}

// parties checks who reports about whom. An organisation that could not be read
// has been complained about already.
func (c *check) parties() {
	reg := c.rules.registry
	if c.client != uuid.Nil && !reg.knows(c.client) {
		c.fault(msgClientUnknown)
	}
	if c.server != uuid.Nil && !reg.knows(c.server) {
		c.fault(msgServerUnknown)
	}
	switch own := c.report.party(); {
	case own == uuid.Nil:
	case c.report.role == client && !reg.speaksFor(c.caller, own):
		c.fault(msgNotClient)
	case c.report.role == server && !reg.speaksFor(c.caller, own):
		c.fault(msgNotServer)
	}
	if c.report.client != uuid.Nil && c.statement != uuid.Nil && !reg.owns(c.client, c.statement) {
		c.fault(msgStatement)
	}
}
