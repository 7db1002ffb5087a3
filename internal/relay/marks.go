package relay

// marks remembers which position of the log lies behind which message.
type marks struct {
	position uint64 // everything up to here is done
	pending  []mark // in order
	gone     int    // so many of them are passed
}

type mark struct{ after, lsn uint64 } // all messages below after, and the log up to lsn

// add notes a position behind all messages so far. Positions behind the same
// message are one, so there are never more than messages.
func (m *marks) add(after, lsn uint64) {
	if n := len(m.pending); n > m.gone && m.pending[n-1].after == after {
		m.pending[n-1].lsn = max(m.pending[n-1].lsn, lsn)
		return
	}
	m.pending = append(m.pending, mark{after, lsn})
}

// passed moves the position when every message before oldest is done, and
// reports whether it moved.
func (m *marks) passed(oldest uint64) bool {
	before := m.position
	for m.gone < len(m.pending) && m.pending[m.gone].after <= oldest {
		m.position = max(m.position, m.pending[m.gone].lsn)
		m.gone++
	}
	if m.gone > len(m.pending)/2 { // moving the rest each time would cost more than the row
		m.pending = append(m.pending[:0], m.pending[m.gone:]...)
		m.gone = 0
	}
	return m.position > before
}
