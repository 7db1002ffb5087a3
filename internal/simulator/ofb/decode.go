package ofb

import (
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// decoder reads values and remembers the first that is not what it should be.
type decoder struct{ err error }

func (d *decoder) note(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) want(v value, k kind) bool {
	if v.kind != k {
		d.note(fmt.Errorf("%s instead of %s", v.kind, k))
	}
	return v.kind == k
}

func (d *decoder) integer(v value) int64 {
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	d.note(err)
	return n
}

func (d *decoder) float(v value) float64 {
	n, err := strconv.ParseFloat(string(v.raw), 64)
	d.note(err)
	return n
}

func (d *decoder) text(v value) []byte {
	if !d.want(v, text) {
		return nil
	}
	return v.text()
}

func (d *decoder) id(v value) uuid.UUID {
	s := d.text(v)
	if len(s) == 0 {
		return uuid.Nil
	}
	id, err := uuid.ParseBytes(s)
	d.note(err)
	return id
}

func (d *decoder) entries(v value) []entry {
	var list []entry
	if d.want(v, array) {
		v.elements(func(e value) bool {
			list = append(list, d.entry(e))
			return d.err == nil
		})
	}
	return list
}

func (d *decoder) entry(v value) (e entry) {
	if !d.want(v, array) {
		return e
	}
	position := 0
	v.elements(func(v value) bool {
		switch position++; position {
		case 1:
			e.state = state(d.integer(v))
		case 2:
			e.later = string(v.raw) == "true"
		case 3:
			e.role = roleOf(d.text(v))
		case 4:
			e.id = d.id(v)
		case 5:
			e.interaction = d.id(v)
		case 6:
			e.client = d.id(v)
		case 7:
			e.server = d.id(v)
		case 8:
			e.endpoint = string(d.text(v))
		case 9:
			e.method = string(d.text(v))
		case 10:
			e.status = int(d.integer(v))
		case 11:
			e.timestamp = optionalTime(d.integer(v))
		case 12:
			e.timespan = d.float(v)
		case 13:
			e.at = optionalTime(d.integer(v))
		case 14:
			e.message = string(d.text(v))
		case 15:
			e.raw = v.raw
		}
		return true
	})
	if position < 14 || e.state >= stateCount {
		d.note(fmt.Errorf("entry with %d values and state %d", position, e.state))
	}
	return e
}

func optionalTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}
