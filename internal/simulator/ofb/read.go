package ofb

import (
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

func (c *check) readUUID(name string, v value) uuid.UUID {
	id, err := parseUUID(string(v.text()))
	if err != nil {
		c.fault(msgUUID(name))
		return uuid.Nil
	}
	return id
}

func (c *check) readInteraction(v value) {
	before := len(c.faults)
	c.report.interaction = c.readUUID("fapiInteractionId", v)
	if len(c.faults) == before && c.report.interaction == uuid.Nil {
		c.fault(msgZeroInteraction)
	}
}

func (c *check) readEndpoint(v value) {
	sent := v.text()
	l, ok := c.rules.catalogue.find(sent, c.now)
	if !ok {
		c.fault(msgUnlisted(string(sent)))
		return
	}
	c.report.endpoint, c.family = l.template, l.family
}

func (c *check) readStatus(v value) {
	code, err := strconv.ParseFloat(string(v.raw), 64)
	switch {
	case err == nil && code != math.Trunc(code):
		c.fault(msgStatusInteger)
	case err != nil || code < 200 || code > 599:
		c.fault(msgStatusRange)
	default:
		c.report.status = int(code)
	}
}

var methods = []string{"GET", "POST", "PUT", "DELETE", "PATCH"}

func (c *check) readMethod(v value) {
	sent := v.text()
	i := slices.IndexFunc(methods, func(m string) bool { return m == string(sent) })
	if i < 0 {
		c.fault(msgEnum("httpMethod", methods, string(sent)))
		return
	}
	c.report.method = methods[i]
}

func (c *check) readTimestamp(v value) {
	t, ok := parseTimestamp(v.text(), c.rules.lenient)
	if !ok {
		c.fault(msgTimestamp)
		return
	}
	c.report.timestamp = t
	switch age := c.now.Sub(t); {
	case age > maxAge:
		c.fault(msgTooOld)
	case age < -maxAhead:
		c.fault(msgFuture)
	}
}

func (c *check) readTimespan(v value) {
	ms, err := strconv.ParseFloat(string(v.raw), 64)
	switch {
	case err != nil:
		c.fault(msgTimespanFinite)
	case ms <= 0:
		c.fault(msgTimespan)
	default:
		c.report.timespan = ms
	}
}

func (c *check) readClient(v value) {
	if c.client = c.readUUID("clientOrgId", v); c.rules.registry.knows(c.client) {
		c.report.client = c.client
	}
}

func (c *check) readServer(v value) {
	if c.server = c.readUUID("serverOrgId", v); c.rules.registry.knows(c.server) {
		c.report.server = c.server
	}
}

var roles = []string{"CLIENT", "SERVER"}

func (c *check) readRole(v value) {
	if c.report.role == noRole {
		c.fault(msgEnum("role", roles, string(v.text())))
	}
}

func (c *check) readCorrelation(v value) {
	if !isFree(v.text(), maxCorrelation) {
		c.fault(msgCorrelation)
		return
	}
	c.report.correlation = v.raw
}

func (c *check) readStatement(v value) { c.statement = c.readUUID("clientSSId", v) }

func (c *check) readPrefix(v value) {
	if !isFree(v.text(), maxPrefix) {
		c.fault(msgPrefix)
	}
}
