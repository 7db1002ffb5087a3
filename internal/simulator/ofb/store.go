package ofb

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// store holds every copy of every report, and pairs them when their time comes.
type store struct {
	clock      *clock
	seed       uint64
	visibility time.Duration
	pairing    time.Duration
	once       bool // discard a report that is held already
	keepRaw    bool
	// showDiscarded lets lookups find what was discarded on arrival.
	showDiscarded bool

	wake chan struct{} // told when the first due time may have changed

	mu         sync.Mutex                                                   // guards everything below
	mirror     func(e entry, sender uuid.UUID) (entry, time.Duration, bool) // the counterparty; nil: nobody
	journal    *journal                                                     // nil: memory only
	arrivals   pages
	requests   []request
	open       map[uint64]int32 // requests that may still be answered, by number
	byID       map[uuid.UUID]span
	names      *names
	messages   map[int32]string
	raws       map[int32][]byte
	queue      queue
	number     uint64 // of the last request
	counts     [stateCount]int64
	generated  [stateCount]int64
	duplicates int64
	unanswered int64
	refused    map[int]int64
}

// span is the chain of copies of one interaction, oldest first.
type span struct{ first, last int32 }

func newStore(cfg Config, c *clock) *store {
	return &store{
		clock: c, seed: cfg.Seed, visibility: max(cfg.VisibilityDelay, 0), pairing: cfg.PairingDelay,
		once: cfg.DiscardDuplicates, keepRaw: cfg.LegacyLookup, showDiscarded: cfg.ShowDiscarded, wake: make(chan struct{}, 1),
		open: map[uint64]int32{}, byID: map[uuid.UUID]span{}, names: newNames(),
		messages: map[int32]string{}, raws: map[int32][]byte{}, refused: map[int]int64{},
	}
}

func (s *store) firstOf(interaction uuid.UUID) int32 {
	if c, ok := s.byID[interaction]; ok {
		return c.first
	}
	return none
}

func (s *store) countsOf(a *arrival) *[stateCount]int64 {
	if a.sent() {
		return &s.counts
	}
	return &s.generated
}

// record numbers the request, decides what only the store knows (repeats and the
// counterparty), writes it to the journal and only then believes it. It fills r in.
func (s *store) record(r *record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.number = s.number + 1
	r.at = fromMillis(s.clock.now().UnixMilli())
	if s.once {
		s.discardRepeats(r.items)
	}
	s.reflect(r)
	if r.http == unplanned {
		r.http = synchronous(r.items)
	}
	r.identities(s.seed)
	if s.journal != nil {
		if err := s.journal.request(r); err != nil {
			return err
		}
	}
	s.keep(r)
	s.nudge()
	return nil
}

// keep takes a journaled request into memory; reloading goes the same way.
func (s *store) keep(r *record) {
	s.number = max(s.number, r.number)
	q, open := int32(len(s.requests)), r.api == apiOpenData
	s.requests = append(s.requests, request{
		number: r.number, at: millis(r.at), org: s.names.org(r.org), http: uint16(r.http),
		items: uint32(len(r.items)), open: open, fault: s.names.of(r.fault), sum: r.sum,
	})
	s.open[r.number] = q
	s.unanswered++
	if len(r.items) == 0 && r.http >= 400 {
		s.refused[r.http]++
	}
	for _, e := range r.items {
		e.at, e.open = r.at, open
		s.add(e, r.org, q)
	}
	for _, e := range r.others {
		s.add(e, e.party(), none)
	}
}

func (s *store) add(e entry, sender uuid.UUID, q int32) {
	party := e.party()
	if party == uuid.Nil {
		party = sender
	}
	a := arrival{
		id: e.id, interaction: e.interaction, timestamp: millis(e.timestamp), at: millis(e.at), updated: millis(e.at),
		timespan: e.timespan, next: none, partner: none, request: q, status: uint16(e.status),
		client: s.names.org(e.client), server: s.names.org(e.server), party: s.names.org(party),
		endpoint: s.names.of(e.endpoint), method: methodNumber(e.method), role: e.role, state: e.state, later: e.later, open: e.open,
	}
	a.due = a.at + (s.visibility + s.pairing).Milliseconds()
	i := s.arrivals.add(a)
	s.countsOf(&a)[a.state]++
	if e.message != "" {
		s.messages[i] = e.message
	}
	if s.keepRaw && len(e.raw) > 0 {
		s.raws[i] = append([]byte(nil), e.raw...)
	}
	if a.keyed() {
		s.chain(i, a.interaction)
	}
	if a.state == accepted {
		if a.sent() && s.copies(&a) == 2 {
			s.duplicates++
		}
		s.queue.push(a.due, i)
	}
}

func (s *store) chain(i int32, interaction uuid.UUID) {
	c, ok := s.byID[interaction]
	if !ok {
		c.first = i
	} else {
		s.arrivals.at(c.last).next = i
	}
	c.last = i
	s.byID[interaction] = c
}
