package ofb

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"

	"github.com/google/uuid"
)

// model is the stored report as version 4.0.0 shows it: it does not say whose it is.
type model struct {
	ReportID       string `json:"reportId,omitempty"`
	EventID        string `json:"eventId,omitempty"` // only by a fault
	PairedReportID string `json:"pairedReportId,omitempty"`
	Status         string `json:"status"`
	CreatedAt      string `json:"createdAt"`
	UpdatedAt      string `json:"updatedAt"`
}

// get answers what the platform holds under an interaction id.
func (s *Server) get(w http.ResponseWriter, r *http.Request, id string) {
	caller, refusal := s.admit(r)
	if refusal != nil {
		s.deliver(w, refusal, nil)
		return
	}
	s.lookups.Add(1)
	f := s.faults.match(OnLookup, "", caller.Organisation)
	if f.is(Revoke) {
		s.tokens.revoke(caller.ID)
	}
	s.delay(f, "before")
	a := s.found(id, caller.Organisation, f)
	s.delay(f, "after")
	s.deliver(w, f.spoiled(f.replaced(a, r.URL.Path, s.clock.now())), f)
}

func (s *Server) found(id string, caller uuid.UUID, f *Fault) *answer {
	interaction, err := parseUUID(id)
	if err != nil || f.is(Hide) {
		return own(http.StatusNotFound)
	}
	m, raw, ok := s.store.lookup(interaction, s.sideOf(caller))
	if !ok {
		return own(http.StatusNotFound)
	}
	switch {
	case f.is(UnknownStatus):
		m.Status = unknownStatus
	case f.is(ForeignIDs):
		name, foreign := f.foreign(m.ReportID, s.store.earliest(), rand.New(rand.NewPCG(s.cfg.Seed, uint64(f.Hits))))
		if m.ReportID = foreign; name == "eventId" {
			m.ReportID, m.EventID = "", foreign
		}
	}
	body, _ := json.Marshal(m) // strings only
	if len(raw) > 2 {
		body = append(append(append([]byte(nil), raw[:len(raw)-1]...), ','), body[1:]...)
	}
	return &answer{status: http.StatusOK, body: body}
}

// worst is beyond every rank.
const worst = 6

// sideOf says which reports caller may see and which of them it is shown: its own
// before the other party's, and the client's where it is both.
func (s *Server) sideOf(caller uuid.UUID) func(clientOrg, serverOrg uuid.UUID, side role) (rank int, ok bool) {
	return func(clientOrg, serverOrg uuid.UUID, side role) (int, bool) {
		isClient, isServer := s.registry.speaksFor(caller, clientOrg), s.registry.speaksFor(caller, serverOrg)
		switch {
		case isClient && side == client:
			return 0, true
		case isServer && side == server:
			return 1, true
		default:
			return 2, isClient || isServer
		}
	}
}

// lookup finds the copy to show. What is due is done first, so that an answer never
// depends on how busy the machine is.
func (s *store) lookup(interaction uuid.UUID, side func(c, v uuid.UUID, r role) (int, bool)) (model, []byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked()
	best, bestRank := none, worst
	for i := s.firstOf(interaction); i != none; i = s.arrivals.at(i).next {
		a := s.arrivals.at(i)
		rank, party := side(s.orgID(a.client), s.orgID(a.server), a.role)
		if !a.state.held() {
			rank += worst / 2 // a discarded report is shown only where no other is
		}
		if party && rank < bestRank && s.visible(a) {
			best, bestRank = i, rank
		}
	}
	if best == none {
		return model{}, nil, false
	}
	a := s.arrivals.at(best)
	m := model{
		ReportID: a.id.String(), Status: a.state.String(),
		CreatedAt: formatTimestamp(fromMillis(a.at)), UpdatedAt: formatTimestamp(fromMillis(a.updated)),
	}
	if a.partner != none {
		m.PairedReportID = s.arrivals.at(a.partner).id.String()
	}
	return m, s.raws[best], true
}

func (s *store) visible(a *arrival) bool {
	switch {
	case a.state == notStored, a.open:
		return false
	case a.state == discarded && !a.later && !s.showDiscarded:
		return false
	default:
		return a.state != accepted && a.state != discarded ||
			s.clock.now().UnixMilli() >= a.at+s.visibility.Milliseconds()
	}
}

func (s *store) orgID(number uint16) uuid.UUID {
	if number == 0 {
		return uuid.Nil
	}
	return uuid.MustParse(s.names.list[number])
}

// earliest is the id of the oldest report that is held.
func (s *store) earliest() uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.arrivals.n {
		if a := s.arrivals.at(i); a.sent() && a.state.held() {
			return a.id
		}
	}
	return uuid.Nil
}
