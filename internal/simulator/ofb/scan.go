package ofb

import (
	"encoding/hex"

	"github.com/google/uuid"
)

func (s *store) summary() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked()
	l := Ledger{At: s.clock.now(), States: map[string]int64{}, Counterparty: map[string]int64{}, Refused: map[int]int64{}}
	for i := range stateCount {
		l.States[i.String()] = s.counts[i]
		l.Counterparty[i.String()] = s.generated[i]
		l.Totals.Items += s.counts[i]
		if i.held() {
			l.Totals.Stored += s.counts[i]
		}
	}
	for status, n := range s.refused {
		l.Refused[status] = n
	}
	l.Totals.Requests = int64(len(s.requests))
	l.Totals.Discarded, l.Totals.NotStored = s.counts[discarded], s.counts[notStored]
	l.Totals.Duplicates, l.Totals.Unanswered = s.duplicates, s.unanswered
	return l
}

// scanSize is how many copies are read under one lock: a ledger of a million
// reports must not stop the platform while somebody reads it.
const scanSize = 1000

// eachKey calls f with every report that was sent, in the order of first arrival.
func (s *store) eachKey(doubled bool, only uuid.UUID, f func(KeyRow) bool) {
	for from := int32(0); ; from += scanSize {
		rows, more := s.keyRows(from, doubled, only)
		for _, k := range rows {
			if !f(k) {
				return
			}
		}
		if !more {
			return
		}
	}
}

func (s *store) keyRows(from int32, doubled bool, only uuid.UUID) (rows []KeyRow, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := min(from+scanSize, s.arrivals.n)
	for i := from; i < to; i++ {
		a := s.arrivals.at(i)
		if !a.sent() || only != uuid.Nil && a.interaction != only || !s.firstOfKey(i) {
			continue
		}
		if k := s.keyRow(i); !doubled || k.Stored > 1 {
			rows = append(rows, k)
		}
	}
	return rows, to < s.arrivals.n
}

func (s *store) firstOfKey(i int32) bool {
	a := s.arrivals.at(i)
	if !a.keyed() {
		return true // every one is a report of its own
	}
	j := s.firstOf(a.interaction)
	for j != i && !s.arrivals.at(j).sameKey(a) {
		j = s.arrivals.at(j).next
	}
	return j == i
}

func (s *store) keyRow(i int32) KeyRow {
	a := s.arrivals.at(i)
	k := KeyRow{API: apiName(a.open), Role: a.role.String(), Organisation: s.names.list[a.party]}
	if a.interaction != uuid.Nil {
		k.FapiInteractionID = a.interaction.String()
	}
	for j := i; j != none; j = s.arrivals.at(j).next {
		b := s.arrivals.at(j)
		if j != i && !b.sameKey(a) {
			continue
		}
		k.Arrived++
		if b.state.held() {
			k.Stored++
		}
		k.Arrivals = append(k.Arrivals, s.arrivalRow(j))
	}
	return k
}

func (s *store) arrivalRow(i int32) ArrivalRow {
	a := s.arrivals.at(i)
	r := s.requests[a.request]
	return ArrivalRow{
		Request: r.number, Time: fromMillis(a.at), ReportID: a.id.String(), Status: a.state.String(),
		Message: s.messages[i], Answered: r.answered, HTTPStatus: int(r.http), Fault: s.names.list[r.fault],
		SentBy: s.names.list[r.org],
	}
}

func (s *store) eachRequest(f func(RequestRow) bool) {
	for from := 0; ; from += scanSize {
		rows, more := s.requestRows(from)
		for _, r := range rows {
			if !f(r) {
				return
			}
		}
		if !more {
			return
		}
	}
}

func (s *store) requestRows(from int) (rows []RequestRow, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := min(from+scanSize, len(s.requests))
	for _, r := range s.requests[from:to] {
		rows = append(rows, RequestRow{
			Number: r.number, API: apiName(r.open), Time: fromMillis(r.at), Organisation: s.names.list[r.org], Items: int(r.items),
			HTTPStatus: int(r.http), Answered: r.answered, Fault: s.names.list[r.fault],
			BodySHA256: hex.EncodeToString(r.sum[:]),
		})
	}
	return rows, to < len(s.requests)
}
