package ofb

import (
	"time"

	"github.com/google/uuid"
)

// Ledger is what the simulator witnessed. Its counts reach back to the first
// request in the journal; lookups and tokens are counted since the start.
type Ledger struct {
	At           time.Time        `json:"at"` // by the simulator's clock
	Totals       Totals           `json:"totals"`
	States       map[string]int64 `json:"states"`       // of the copies that were sent
	Counterparty map[string]int64 `json:"counterparty"` // of the copies that the simulated counterparty sent
	Refused      map[int]int64    `json:"refused"`      // requests refused as a whole, by status
	Keys         []KeyRow         `json:"keys,omitempty"`
	Requests     []RequestRow     `json:"requests,omitempty"`
	Days         []DayRow         `json:"days,omitempty"`
}

// Totals count what was sent; nothing in them was made up by the simulator.
type Totals struct {
	Requests   int64 `json:"requests"` // POSTs, refused ones among them
	Items      int64 `json:"items"`    // in requests that were looked into
	Stored     int64 `json:"stored"`   // copies that are held
	Discarded  int64 `json:"discarded"`
	NotStored  int64 `json:"not_stored"` // arrived, and by a fault never reached the platform
	Duplicates int64 `json:"duplicates"` // report keys of which more than one copy is held
	Unanswered int64 `json:"unanswered"` // requests whose answer did not leave whole, or has not yet
	Lookups    int64 `json:"lookups"`
	Tokens     int64 `json:"tokens"`
}

// KeyRow is one report with all its copies. Organisation is the one in whose name
// the report speaks, or the sender where that cannot be read: so a copy that was sent
// with the token of another member of the conglomerate is still a copy.
type KeyRow struct {
	API               string       `json:"api"`
	Role              string       `json:"role"`
	Organisation      string       `json:"organisation"`
	FapiInteractionID string       `json:"fapiInteractionId"` // of open data: made of all that the report says
	Arrived           int          `json:"arrived"`
	Stored            int          `json:"stored"`
	Arrivals          []ArrivalRow `json:"arrivals"`
}

// ArrivalRow is one copy and the request that brought it.
type ArrivalRow struct {
	Request    uint64    `json:"request"`
	Time       time.Time `json:"time"`
	ReportID   string    `json:"report_id"`
	Status     string    `json:"status"`
	Message    string    `json:"message,omitempty"`
	Answered   bool      `json:"answered"`
	HTTPStatus int       `json:"http_status"` // 0: no answer was meant to leave
	Fault      string    `json:"fault,omitempty"`
	SentBy     string    `json:"sent_by"`
}

// RequestRow is one POST.
type RequestRow struct {
	Number       uint64    `json:"number"`
	API          string    `json:"api"`
	Time         time.Time `json:"time"`
	Organisation string    `json:"organisation"`
	Items        int       `json:"items"`
	HTTPStatus   int       `json:"http_status"`
	Answered     bool      `json:"answered"`
	Fault        string    `json:"fault,omitempty"`
	BodySHA256   string    `json:"body_sha256"`
}

// Detail asks the ledger for lists.
type Detail int

// The lists. Each costs memory in proportion to what was sent.
const (
	Keys Detail = iota
	DoubledKeys
	Requests
	Days
)

// Ledger returns the counts and the lists that are asked for.
func (s *Server) Ledger(details ...Detail) Ledger {
	l := s.store.summary()
	l.Totals.Lookups, l.Totals.Tokens = s.lookups.Load(), s.grants.Load()
	for _, d := range details {
		switch d {
		case Keys, DoubledKeys:
			s.store.eachKey(d == DoubledKeys, uuid.Nil, func(k KeyRow) bool {
				l.Keys = append(l.Keys, k)
				return true
			})
		case Requests:
			s.store.eachRequest(func(r RequestRow) bool {
				l.Requests = append(l.Requests, r)
				return true
			})
		case Days:
			l.Days = s.store.days()
		}
	}
	return l
}
