package ofb

import (
	"time"

	"github.com/google/uuid"
)

// arrival is one copy of a report: an item of a request, or a report that the
// simulated counterparty sent. A million of them must fit into a small machine, so
// times are milliseconds and names are numbers.
type arrival struct {
	id          uuid.UUID
	interaction uuid.UUID // zero: unreadable
	timestamp   int64     // of the call; 0: unreadable
	at          int64     // of reception
	due         int64     // of processing
	updated     int64
	timespan    float64
	next        int32 // next copy of the same interaction; none is the last
	partner     int32
	request     int32 // none: generated counterparty
	status      uint16
	client      uint16 // number in store.names, as are the next three
	server      uint16
	party       uint16 // in whose name; whoever sent it where that is unreadable
	endpoint    uint16
	method      uint8 // index in methods, plus 1
	role        role
	state       state
	later       bool // to be discarded when processed
	open        bool // of open data
}

const none = int32(-1)

func (a *arrival) sent() bool { return a.request != none }

// keyed reports whether copies of this report can be recognised.
func (a *arrival) keyed() bool { return a.interaction != uuid.Nil && a.role != noRole }

func (a *arrival) sameKey(b *arrival) bool {
	return a.keyed() && a.role == b.role && a.party == b.party && a.interaction == b.interaction && a.sent() == b.sent()
}

// closed reports whether pairing was over at the given time: seven days after the call.
func (a *arrival) closed(at int64) bool { return at > a.timestamp+maxAge.Milliseconds() }

// pages is a slice that grows without being copied.
type pages struct {
	full [][]arrival
	n    int32
}

const pageSize = 4096

func (p *pages) add(a arrival) int32 {
	if int(p.n)%pageSize == 0 {
		p.full = append(p.full, make([]arrival, 0, pageSize))
	}
	last := &p.full[len(p.full)-1]
	*last = append(*last, a)
	p.n++
	return p.n - 1
}

func (p *pages) at(i int32) *arrival { return &p.full[i/pageSize][i%pageSize] }

// names gives small numbers to the few strings that repeat. 0 is the unknown one.
type names struct {
	number map[string]uint16
	list   []string
}

func newNames() *names { return &names{number: map[string]uint16{"": 0}, list: []string{""}} }

func (n *names) of(s string) uint16 {
	if i, ok := n.number[s]; ok {
		return i
	}
	if len(n.list) > 1<<16-1 {
		return 0
	}
	i := uint16(len(n.list))
	n.number[s], n.list = i, append(n.list, s)
	return i
}

func (n *names) org(id uuid.UUID) uint16 {
	if id == uuid.Nil {
		return 0
	}
	return n.of(id.String())
}

// request is one POST as the ledger remembers it.
type request struct {
	open     bool // of open data
	number   uint64
	at       int64
	org      uint16
	http     uint16 // of the answer that was meant to leave; 0: none, by a fault
	items    uint32
	fault    uint16 // number in names
	answered bool
	sum      [32]byte
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func methodNumber(m string) uint8 {
	for i := range methods {
		if methods[i] == m {
			return uint8(i + 1)
		}
	}
	return 0
}

func methodName(n uint8) string {
	if n == 0 {
		return ""
	}
	return methods[n-1]
}
