package ofb

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// The report APIs, as the catalogue names them.
const (
	apiPrivate  = "private"
	apiOpenData = "opendata"
)

func apiName(open bool) string {
	if open {
		return apiOpenData
	}
	return apiPrivate
}

// openFields are the properties of a report of open data: all are required, and
// there is no other.
var openFields = []int{fEndpoint, fStatus, fMethod, fTimestamp, fTimespan, fInfo}

// judgeOpen reads one item of a batch of open data. Only servers report it, and
// the item does not say who: that is whoever sends it.
func (r *rules) judgeOpen(item value, caller uuid.UUID, now time.Time) (report, string) {
	if item.kind != object {
		return report{open: true}, msgNotObject + item.kind.String()
	}
	own := *r
	own.catalogue = r.open
	c := check{rules: &own, caller: caller, now: now}
	c.report = report{open: true, role: server, server: caller, raw: item.raw, interaction: identity(item.raw)}
	item.members(c.take)
	c.readOpenFields()
	if len(c.faults) == 0 && r.official != nil && r.official.accepts(item.raw, c.report) != nil {
		c.fault(msgUnmapped)
	}
	return c.report, joinMessages(c.faults)
}

func (c *check) readOpenFields() {
	listed := [fieldCount]bool{}
	for _, i := range openFields {
		listed[i] = true
		f, v := &fields[i], c.at[i]
		switch {
		case v.kind == absent:
			c.fault(msgRequired(f.name))
		case v.kind != f.kind:
			c.fault(msgType(f.name, f.kind, v.kind))
		case i == fInfo:
			c.readOpenInfo(v)
		case v.kind == text && len(v.raw) == 2:
			c.empty(i)
		default:
			f.read(c, v)
		}
	}
	for i, v := range c.at {
		if v.kind != absent && !listed[i] {
			c.strangers = append(c.strangers, fields[i].name)
		}
	}
	if len(c.strangers) > 0 {
		c.fault(msgStrangers(c.strangers))
	}
}

// readOpenInfo wants the caller's address and nothing else. The message never
// repeats what was sent.
func (c *check) readOpenInfo(v value) {
	const clientIP = "additionalInfo.clientIp"
	var address value
	var strangers []string
	v.members(func(name []byte, field value) {
		if string(name) == "clientIp" {
			address = field
			return
		}
		strangers = append(strangers, string(name))
	})
	switch {
	case address.kind == absent:
		c.fault(msgRequired(clientIP))
	case address.kind != text:
		c.fault(msgType(clientIP, text, address.kind))
	case len(address.raw) == 2:
		c.fault(msgEmpty(clientIP))
	default:
		if ip, err := netip.ParseAddr(string(address.text())); err != nil || ip.Zone() != "" {
			c.fault(msgClientIP)
		}
	}
	if len(strangers) > 0 {
		c.fault(msgStrangers(strangers))
	}
}

// identity stands for the interaction id that a report of open data does not
// have: the same for two copies of one item, so that the ledger can tell that a
// report was sent twice. Two calls that agree in every digit of their times count
// as one; the platform itself would not know.
func identity(item []byte) uuid.UUID {
	var b bytes.Buffer
	_ = json.Compact(&b, item) // it was valid when it came
	sum := sha256.Sum256(b.Bytes())
	var id uuid.UUID
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80 // version 8: made of something of our own
	id[8] = id[8]&0x3f | 0x80
	return id
}
