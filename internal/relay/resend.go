package relay

import "time"

// failed notes that a message was not stored this time.
func (w *window) failed(seq uint64) { w.move(seq, waiting, true) }

// unsent notes that a message could not be handed to the connection. That is no
// failure of the message: when the connection is back it goes at once.
func (w *window) unsent(seq uint64) { w.move(seq, waiting, false) }

// refused notes that a message can never be stored.
func (w *window) refused(seq uint64) {
	w.move(seq, refused, false)
	wake(w.kick)
}

// again notes that messages were not stored as a group: each goes at once, alone,
// and nothing has failed yet.
func (w *window) again(seqs []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seq := range seqs {
		if seq >= w.oldest && seq < w.next && w.slot(seq).state == sent {
			w.slot(seq).state, w.slot(seq).due = waiting, w.now
		}
	}
	wake(w.kick)
}

func (w *window) move(seq uint64, to state, failure bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq < w.oldest || seq >= w.freshFrom || w.slot(seq).state == done {
		return
	}
	w.slot(seq).move(to, failure, w.now, w.random)
}

func (s *slot) move(to state, failure bool, now time.Time, random func() float64) {
	if failure {
		s.failures++
	}
	s.state, s.due = to, now.Add(backoff(max(s.failures, 1), random()))
}

// reconnected makes everything that is not stored due: PubAcks on their way were
// lost with the connection. The failures before do not count any more.
func (w *window) reconnected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := w.oldest; seq < w.next; seq++ {
		if s := w.slot(seq); s.state == sent || s.state == waiting {
			*s = slot{state: waiting, due: w.now, at: s.at, lengths: s.lengths}
		}
	}
	wake(w.kick)
}

// due finds the first message from a number on that something must be done with
// now: sent, to be sent again (it counts as sent from here on); refused, to be
// parked; waiting, it has just timed out. The first two are copied into m.
func (w *window) due(from uint64, m *outgoing) (seq uint64, what state, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq = max(from, w.oldest); seq < w.next; seq++ {
		s := w.slot(seq)
		late := !s.due.After(w.now)
		switch {
		case s.state == sent && late:
			s.move(waiting, true, w.now, w.random)
			return seq, waiting, true
		case s.state == waiting && (late || w.easing > 0):
			if !late {
				w.easing--
			}
			s.state, s.due = sent, w.now.Add(w.ackTimeout)
			w.arena.read(s.at, s.lengths, m)
			return seq, sent, true
		case s.state == refused:
			w.arena.read(s.at, s.lengths, m)
			return seq, refused, true
		}
	}
	w.easing = 0 // nobody waits
	return 0, done, false
}

// probe lets the oldest message that waits go before it is due: after a long
// trouble the others would notice its end minutes later.
func (w *window) probe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.easing = max(w.easing, 1)
}

// troubled counts the messages that were tried and not stored.
func (w *window) troubled() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := w.oldest; seq < w.next; seq++ {
		if s := w.slot(seq); s.state != done && s.failures > 0 {
			n++
		}
	}
	return n
}

// backoff is how long Sequin waits after the n-th failure: 1 s, doubled each time
// up to 256 s, 15 % to either side; then 600 s. random is in [0, 1).
func backoff(n int, random float64) time.Duration {
	const flatFrom = 10
	if n >= flatFrom {
		return 600 * time.Second
	}
	return time.Duration((0.85 + 0.3*random) * float64(time.Second) * float64(uint(1)<<max(n-1, 0)))
}
