package relay

// arena is memory for messages that come and go in order: a ring in which each
// message is in one piece.
type arena struct {
	memory []byte
	first  int // where the oldest message begins
	end    int // where the next one may begin
	used   bool
}

// take sets n bytes aside and gives their place, or -1.
func (a *arena) take(n int) int {
	switch {
	case !a.used && n <= len(a.memory):
		a.first, a.end = 0, 0
	case !a.used:
		return -1
	case a.end > a.first && len(a.memory)-a.end >= n:
	case a.end > a.first && a.first > n: // the rest of the ring stays empty this time
		a.end = 0
	case a.end < a.first && a.first-a.end > n:
	default:
		return -1
	}
	a.used = true
	at := a.end
	a.end += n
	return at
}

// keepFrom gives back everything before the message that begins at a place.
func (a *arena) keepFrom(at int) { a.first = at }

func (a *arena) clear() { a.used = false }

// roomy reports that a quarter of the memory can be had.
func (a *arena) roomy() bool {
	if !a.used {
		return true
	}
	free := a.first - a.end
	if a.end > a.first {
		free = max(len(a.memory)-a.end, a.first)
	}
	return free >= len(a.memory)/4
}

// fill copies a message to its place and gives the lengths of its parts.
func (a *arena) fill(at int, m *outgoing) (lengths [4]int) {
	for i, part := range [...][]byte{m.subject, m.msgID, m.trace, m.body} {
		lengths[i] = copy(a.memory[at:], part)
		at += len(part)
	}
	return lengths
}

// read copies a message out: its place may be given back meanwhile.
func (a *arena) read(at int, lengths [4]int, m *outgoing) {
	for i, part := range [...]*[]byte{&m.subject, &m.msgID, &m.trace, &m.body} {
		*part = append((*part)[:0], a.memory[at:at+lengths[i]]...)
		at += lengths[i]
	}
}
