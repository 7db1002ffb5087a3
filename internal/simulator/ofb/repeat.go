package ofb

import (
	"time"

	"github.com/google/uuid"
)

// key is what makes two items copies of one report.
type key struct {
	interaction uuid.UUID
	party       uuid.UUID
	role        role
}

func (e entry) key() key { return key{interaction: e.interaction, party: e.party(), role: e.role} }

// discardRepeats is the other world: PCM says nowhere whether a report that it holds
// is taken a second time. Called with mu held.
func (s *store) discardRepeats(items []entry) {
	seen := map[key]bool{}
	for i := range items {
		e := &items[i]
		if e.state != accepted {
			continue
		}
		if seen[e.key()] || s.holds(e.key()) {
			e.state, e.message = discarded, msgDuplicate
		}
		seen[e.key()] = true
	}
}

func (s *store) holds(k key) bool {
	party := s.names.org(k.party)
	for j := s.firstOf(k.interaction); j != none; j = s.arrivals.at(j).next {
		if a := s.arrivals.at(j); a.sent() && a.state.held() && a.role == k.role && a.party == party {
			return true
		}
	}
	return false
}

// reflectBy names the counterparty.
func (s *store) reflectBy(mirror func(e entry, sender uuid.UUID) (entry, time.Duration, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirror = mirror
}

// reflect adds what the counterparty reports because of these items. A call that its
// other side has reported, or reports in this request, needs nobody to invent that.
// The counterparty does not know whether a report of ours was lost on its way.
func (s *store) reflect(r *record) {
	if s.mirror == nil {
		return
	}
	type side struct {
		interaction uuid.UUID
		role        role
	}
	told := map[side]bool{}
	for _, e := range r.items {
		told[side{e.interaction, e.role}] = told[side{e.interaction, e.role}] || e.state == accepted
	}
	for _, e := range r.items {
		other := side{e.interaction, e.role.other()}
		if e.message != "" || told[other] || s.reported(e.interaction, e.role.other()) {
			continue
		}
		if m, after, ok := s.mirror(e, r.org); ok {
			m.at = r.at.Add(after)
			if s.keepRaw {
				m.raw = m.submitted()
			}
			r.others = append(r.others, m)
			told[other] = true
		}
	}
}

func (s *store) reported(interaction uuid.UUID, side role) bool {
	for j := s.firstOf(interaction); j != none; j = s.arrivals.at(j).next {
		if a := s.arrivals.at(j); a.role == side && a.state.held() {
			return true
		}
	}
	return false
}
