package relay

import (
	"math"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/relay/post"
)

// parcel is one message on its way to a webhook.
//
//	queued ──▶ in hand ── 2xx ──▶ gone
//	  ▲           │
//	  └── due ────┴── not 2xx: waits; or, tried often enough, is parked, then gone
type parcel struct {
	prev, next *parcel

	id     string
	body   []byte
	to     *post.Target // parcels of one target may travel together
	group  string       // within one, they travel one after the other; none when empty
	entry  *quarantine.Entry
	before uint64 // everything read before it was everything up to there

	arrived  time.Time
	due      time.Time
	failures int
	inHand   bool
}

// backlog holds the messages that a webhook has not taken yet, in the order of
// the log. It does no input or output and reads no clock. What is done leaves at
// once, wherever it stands: one message that nobody takes holds the position, and
// neither memory nor its neighbours.
type backlog struct {
	mu          sync.Mutex
	bounds      bounds
	random      func() float64
	first, last *parcel
	count       int
	bytes       int
	failing     int    // parcels that were tried
	behind      uint64 // everything read so far is everything up to there
	full        bool   // somebody waits for room
	brake       brake

	room     chan struct{} // there is some again
	progress chan struct{} // the position has advanced
	kick     chan struct{} // something may be due
}

// bounds are what the file and the configuration allow.
type bounds struct {
	messages, bytes int // of all that are not done. The largest message always has room in an empty backlog
	batch           int // messages of a request, at most
	retries         int // attempts before a message is given up; 0: never
}

// batchWait is how long a batch waits to become full, as in Sequin.
const batchWait = 5 * time.Millisecond

func newBacklog(b bounds, random func() float64) *backlog {
	return &backlog{
		bounds: b, random: random,
		room: make(chan struct{}, 1), progress: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
}

// put takes a message in; not ok when there is no room, and room will tell when
// to ask again. The parcel and its body belong to the backlog from here on.
func (b *backlog) put(p *parcel, now time.Time) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= b.bounds.messages || b.count > 0 && b.bytes+len(p.body) > b.bounds.bytes {
		b.full = true
		return false
	}
	p.before, p.arrived, p.prev = b.behind, now, b.last
	if b.last == nil {
		b.first = p
	} else {
		b.last.next = p
	}
	b.last = p
	b.count++
	b.bytes += len(p.body)
	wake(b.kick)
	return true
}

// take gives the parcels of one request, or how long nothing will be due.
func (b *backlog) take(now time.Time) (batch []*parcel, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pick := picker{now: now, size: b.bounds.batch, last: b.bounds.retries - 1, wait: math.MaxInt64, fresh: b.brake.allows(now), again: b.brake.until}
	for p := b.first; p != nil && !pick.full(); p = p.next {
		pick.look(p)
	}
	if len(pick.batch) == 0 {
		return nil, pick.wait
	}
	// A batch that was never tried may wait for company.
	oldest := pick.batch[0]
	if left := batchWait - now.Sub(oldest.arrived); oldest.failures == 0 && left > 0 && !pick.full() {
		return nil, min(left, pick.wait)
	}
	for _, p := range pick.batch {
		p.inHand = true
	}
	if oldest.failures == 0 {
		b.brake.tried(now)
	}
	wake(b.kick) // there may be more
	return pick.batch, 0
}

// picker fills one batch.
type picker struct {
	now   time.Time
	size  int
	last  int // failures after which a message is tried for the last time; 0: never
	batch []*parcel
	wait  time.Duration // until something that was passed over is due
	fresh bool          // messages that were never tried may go
	again time.Time     // when they may otherwise
	taken map[string]bool
}

func (k *picker) full() bool { return len(k.batch) >= k.size }

func (k *picker) look(p *parcel) {
	free := p.group == "" || !k.taken[p.group]
	if p.group != "" { // whatever becomes of p, those behind it wait for it
		if k.taken == nil {
			k.taken = map[string]bool{}
		}
		k.taken[p.group] = true
	}
	switch left := p.due.Sub(k.now); {
	case p.inHand || !free:
	case p.failures > 0 && left > 0:
		k.wait = min(k.wait, left)
	case p.failures == 0 && !k.fresh:
		k.wait = min(k.wait, k.again.Sub(k.now))
	case len(k.batch) > 0 && !k.batch[0].travelsWith(p):
	default:
		k.size = min(k.size, k.sizeAfter(p.failures))
		k.batch = append(k.batch, p)
	}
}

// sizeAfter is how large a batch may be: the last attempt a message makes alone,
// so that none is given up for what is wrong with another.
func (k *picker) sizeAfter(failures int) int {
	if failures > 0 && failures == k.last {
		return 1
	}
	return max(1, k.size>>failures)
}

// travelsWith keeps what was tried apart from what was not, and what failed often
// apart from what failed once: batches become smaller with each failure, until
// the one row that nobody takes travels alone and takes no other along.
func (p *parcel) travelsWith(other *parcel) bool {
	return p.failures == other.failures && p.to.Equal(other.to)
}

// taken notes that the endpoint has a batch.
func (b *backlog) taken(batch []*parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.brake = brake{}
	b.remove(batch)
}

// remove lets parcels go, and moves the position.
func (b *backlog) remove(batch []*parcel) {
	for _, p := range batch {
		if p.failures > 0 {
			b.failing--
		}
		b.count--
		b.bytes -= len(p.body)
		if p.prev == nil {
			b.first = p.next
		} else {
			p.prev.next = p.next
		}
		if p.next == nil {
			b.last = p.prev
		} else {
			p.next.prev = p.prev
		}
	}
	wake(b.progress)
	wake(b.kick)
	if b.full {
		b.full = false
		wake(b.room)
	}
}

// failed notes that the endpoint did not take a batch, and gives the parcels that
// were tried often enough: they stay until parked.
func (b *backlog) failed(batch []*parcel, now time.Time) (spent []*parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.brake.strike(now)
	for _, p := range batch {
		if p.failures == 0 {
			b.failing++
		}
		p.failures++
		p.due = now.Add(backoff(p.failures, b.random()))
		if b.bounds.retries > 0 && p.failures >= b.bounds.retries {
			spent = append(spent, p)
			continue
		}
		p.inHand = false
	}
	wake(b.kick)
	if b.full { // who waits for answers, not for room, has fewer to wait for
		wake(b.room)
	}
	return spent
}

// parked lets go what is committed in quarantine.
func (b *backlog) parked(p *parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove([]*parcel{p})
}

func (b *backlog) mark(lsn uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = max(b.behind, lsn)
	if b.first == nil {
		wake(b.progress)
	}
}

func (b *backlog) position() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == nil {
		return b.behind
	}
	return b.first.before
}

// reset forgets everything. Answers to requests of before are of parcels that
// nobody holds any more: the session waits for its requests before it ends.
func (b *backlog) reset(time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.last, b.count, b.bytes, b.failing, b.behind, b.full = nil, nil, 0, 0, 0, 0, false
}

// outstanding counts what is not waiting for a later attempt.
func (b *backlog) outstanding() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := b.first; p != nil; p = p.next {
		if p.failures == 0 || p.inHand {
			n++
		}
	}
	b.full = n > 0
	return n
}

func (b *backlog) troubled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing
}

func (b *backlog) advanced() <-chan struct{} { return b.progress }
func (b *backlog) vacant() <-chan struct{}   { return b.room }

// brake keeps messages that were never tried from being tried in vain while
// nothing at all is taken: each would wait out its own failures afterwards, up
// to ten minutes long.
type brake struct {
	strikes int // failures since the last success
	until   time.Time
}

const (
	braked    = 8 // failures
	brakeTime = 5 * time.Second
)

func (k *brake) allows(now time.Time) bool { return k.strikes < braked || !now.Before(k.until) }

func (k *brake) strike(now time.Time) {
	k.strikes++
	k.until = now.Add(brakeTime)
}

// tried lets one batch through.
func (k *brake) tried(now time.Time) { k.until = now.Add(brakeTime) }
