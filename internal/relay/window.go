package relay

import (
	"sync"
	"time"
)

// state is where a message in the window stands.
//
//	 ┌─▶ fresh ─┐ its group goes
//	 │          ▼┌────────── due, or the connection is back ─────────┐
//	 │          ▼▼                                                   │
//	free ────▶ sent ── failed, timed out, could not be written ─▶ waiting
//	 ▲          │ │                                                  │
//	 │          │ └─ refused for ever ─▶ refused ─ row committed ─┐  │ a late PubAck
//	 └──────────┴── PubAck ───────────────────────────────────────┴──┘
//
// A slot is used again when its message and every older one is done.
type state byte

const (
	done    state = iota
	sent          // a PubAck may come until due
	waiting       // to be sent again when due
	refused       // never to be published: to be parked
	fresh         // not sent yet: it waits for its group
)

// outgoing is what is published: views of a reused buffer.
type outgoing struct{ subject, msgID, trace, body []byte }

func (m *outgoing) size() int { return len(m.subject) + len(m.msgID) + len(m.trace) + len(m.body) }

type slot struct {
	state    state
	failures int
	due      time.Time
	at       int // in the arena
	lengths  [4]int
}

// window holds the messages that are not yet known to be stored, and says how
// far the slot may be confirmed. It does no input or output, reads no clock, and
// has as much memory as it is made with.
type window struct {
	mu         sync.Mutex
	slots      []slot // of message n at n modulo its length
	oldest     uint64 // the first message that is not done
	next       uint64 // the number of the next message
	freshFrom  uint64 // the first message that is fresh; all behind it are too
	arena      arena
	marks      marks
	now        time.Time
	ackTimeout time.Duration
	random     func() float64
	easing     int  // messages that may go before they are due
	full       bool // somebody waits for room

	room     chan struct{} // there is some again
	progress chan struct{} // the position has advanced
	kick     chan struct{} // something may be due
}

func newWindow(slots, bytes int, ackTimeout time.Duration, random func() float64) *window {
	return &window{
		slots: make([]slot, slots), arena: arena{memory: make([]byte, bytes)}, ackTimeout: ackTimeout, random: random,
		room: make(chan struct{}, 1), progress: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
}

// reset forgets every message and position. Numbers go on: a PubAck of the
// session before means nothing to this one.
func (w *window) reset(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.slots)
	w.oldest, w.freshFrom, w.marks, w.now, w.easing, w.full = w.next, w.next, marks{}, now, 0, false
	w.arena.clear()
	for _, c := range []chan struct{}{w.room, w.progress, w.kick} {
		select {
		case <-c:
		default:
		}
	}
}

// tick tells the time.
func (w *window) tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func (w *window) slot(seq uint64) *slot { return &w.slots[seq%uint64(len(w.slots))] }

// put takes a message in as sent, and gives its number; not ok when there is no
// room, and room will tell when to ask again.
func (w *window) put(m *outgoing) (seq uint64, ok bool) { return w.takeIn(m, sent) }

// hold takes a message in as fresh: it goes with its group.
func (w *window) hold(m *outgoing) (seq uint64, ok bool) { return w.takeIn(m, fresh) }

func (w *window) takeIn(m *outgoing, as state) (seq uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := -1
	if w.next-w.oldest < uint64(len(w.slots)) {
		at = w.arena.take(m.size())
	}
	if at < 0 {
		w.full = true
		return 0, false
	}
	seq = w.next
	w.next++
	*w.slot(seq) = slot{state: as, due: w.now.Add(w.ackTimeout), at: at, lengths: w.arena.fill(at, m)}
	if as == sent {
		w.freshFrom = w.next
	}
	return seq, true
}

// mark says that everything put so far was everything up to a position.
func (w *window) mark(lsn uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks.add(w.next, lsn)
	w.advance()
}

// settle notes that a message is stored or parked. News of an older life of its
// slot or of what was never sent, or a second PubAck, changes nothing.
func (w *window) settle(seq uint64) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq < w.oldest || seq >= w.freshFrom || w.slot(seq).state == done {
		return false
	}
	w.end(w.slot(seq))
	w.advance()
	return true
}

func (w *window) end(s *slot) {
	if s.failures > 0 { // what refused it takes messages again
		w.easing += 2
		wake(w.kick)
	}
	s.state = done
}

// advance gives back what is done at the old end, and moves the position.
func (w *window) advance() {
	for w.oldest < w.next && w.slot(w.oldest).state == done {
		w.oldest++
	}
	if w.oldest == w.next {
		w.arena.clear()
	} else {
		w.arena.keepFrom(w.slot(w.oldest).at)
	}
	if w.marks.passed(w.oldest) {
		wake(w.progress)
	}
	// Waking the reader for each slot would cost more than the row.
	if used := w.next - w.oldest; w.full && (used == 0 || used <= uint64(len(w.slots)-len(w.slots)/4) && w.arena.roomy()) {
		w.full = false
		wake(w.room)
	}
}

// position is how far the slot may be confirmed.
func (w *window) position() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks.position
}

// outstanding counts the messages that are not done, and asks room to tell when
// there are fewer.
func (w *window) outstanding() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = w.next > w.oldest
	return int(w.next - w.oldest)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is told already
	}
}

// freshOnes counts the messages that wait for their group.
func (w *window) freshOnes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.next - w.freshFrom)
}

// nextFresh copies the first fresh message into m; it counts as sent from here
// on.
func (w *window) nextFresh(m *outgoing) (seq uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.freshFrom == w.next {
		return 0, false
	}
	seq = w.freshFrom
	w.freshFrom++
	s := w.slot(seq)
	s.state, s.due = sent, w.now.Add(w.ackTimeout)
	w.arena.read(s.at, s.lengths, m)
	return seq, true
}

// settleAll is settle for many at once.
func (w *window) settleAll(seqs []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seq := range seqs {
		if seq >= w.oldest && seq < w.freshFrom && w.slot(seq).state != done {
			w.end(w.slot(seq))
		}
	}
	w.advance()
}
