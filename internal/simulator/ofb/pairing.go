package ofb

// agree reports whether two reports of one interaction say the same. Timestamps,
// timespans, software statement, prefix and additionalInfo do not take part.
func agree(a, b *arrival) bool {
	return a.client == b.client && a.server == b.server && a.status == b.status &&
		a.method == b.method && a.endpoint == b.endpoint
}

// process does what is due for one copy: it becomes part of a pair, or unpaired
// until the other side reports. Called with mu held.
func (s *store) process(i int32, due int64) {
	a := s.arrivals.at(i)
	if a.state != accepted {
		return
	}
	if a.later {
		s.discardLater(a, due)
		return
	}
	if a.open {
		s.move(a, single, due)
		return
	}
	j, found := s.counterpart(a)
	if !found {
		s.move(a, unpaired, due)
		return
	}
	b, to := s.arrivals.at(j), inconsistent
	if agree(a, b) {
		to = paired
	}
	a.partner, b.partner = j, i
	s.move(a, to, due)
	s.move(b, to, due)
}

// counterpart is the oldest open report of the other role: a second copy of a report
// that already has its pair stays alone.
func (s *store) counterpart(a *arrival) (int32, bool) {
	for j := s.firstOf(a.interaction); j != none; j = s.arrivals.at(j).next {
		b := s.arrivals.at(j)
		if b.role == a.role.other() && b.state == unpaired && !b.closed(a.at) {
			return j, true
		}
	}
	return none, false
}

func (s *store) move(a *arrival, to state, at int64) {
	count := s.countsOf(a)
	count[a.state]--
	count[to]++
	a.state, a.updated = to, at
}

// discardLater is the way an accepted receipt turns out not to be final. What the
// platform threw away is no longer a copy, so its corrected successor is none either.
func (s *store) discardLater(a *arrival, at int64) {
	if s.copies(a) == 2 {
		s.duplicates--
	}
	s.move(a, discarded, at)
}

// copies counts the held copies of a's report.
func (s *store) copies(a *arrival) int {
	n := 0
	for j := s.firstOf(a.interaction); j != none; j = s.arrivals.at(j).next {
		if b := s.arrivals.at(j); b.state.held() && b.sameKey(a) {
			n++
		}
	}
	return n
}
