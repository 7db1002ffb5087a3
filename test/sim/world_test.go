package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/books"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// world is one run: an outbox, a broker that delivers at least once, a store of
// consumer rows, lanes and batches, and a regulator.
type world struct {
	seed   uint64
	dice   *rand.Rand
	now    time.Time
	log    func(string, ...any)
	counts counts
	timing submit.Timing
	policy flush.Policy
	known  consumer.Knowledge

	outbox  map[event.ID]*entry
	order   []event.ID
	inbox   []consumer.Message // the broker: what will be delivered, perhaps again
	rows    map[event.ID]stored
	keys    map[event.ID]event.ID // report key → event
	aside   map[event.ID]bool     // quarantine, ingest
	chunks  []event.ID
	oldest  time.Time
	batches []*batch
	breaker submit.Breaker
	notBy   time.Time // the regulator asked to wait

	regulator regulator
}

// entry is one event and what became of it, as the test knows it.
type entry struct {
	message consumer.Message
	key     event.ID
	good    bool // should be reported
}

type stored struct {
	hash    [32]byte
	outcome string
}

type batch struct {
	id         int
	state      submit.State
	events     []event.ID
	superseded []bool
	receipts   []books.Receipt
	attempt    int
	code       submit.Code
	notBefore  time.Time
	first      time.Time
	posted     time.Time
	askAt      time.Time
	probe      int
	answers    map[int][]submit.Found
	person     bool
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, dice: rand.New(rand.NewPCG(seed, 7)), now: epoch, log: func(string, ...any) {},
		outbox: map[event.ID]*entry{}, rows: map[event.ID]stored{}, keys: map[event.ID]event.ID{}, aside: map[event.ID]bool{}}
	w.timing = submit.Timing{PostWithin: 2 * time.Second, Exchange: 3 * time.Second, GiveUpAfter: 5 * time.Second, RetryBase: time.Second, RetryMost: 30 * time.Second, WaitMost: time.Minute,
		BreakerPause: time.Minute, Probes: []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}, AskAgain: 5 * time.Minute, PersonSlack: time.Second,
		Sample: 2, PerLane: 3, Failures: 3, AskRate: 1}
	w.policy = flush.Policy{Mode: tenant.NearRealTime, MaxItems: 1 + w.dice.IntN(8), MaxBytes: 1 << 20, MaxAge: time.Duration(1+w.dice.IntN(10)) * time.Second, DeadlineLead: time.Hour}
	w.known = consumer.Knowledge{Catalog: catalog(), Tenants: tenants(), Report: reporter{}}
	w.regulator = regulator{world: w, reports: map[event.ID][]report{}, visible: []time.Duration{0, time.Second, 3 * time.Second, 50 * time.Second}[w.dice.IntN(4)], trouble: w.dice.IntN(60), shows: w.dice.IntN(3) == 0}
	return w
}

// run lets producers append for a while, then everything calm down, then asks
// until nothing is in doubt.
func (w *world) run() {
	for step := 0; step < 400 || step < 800 && w.moving(); step++ {
		w.now = w.now.Add(time.Duration(200+w.dice.IntN(800)) * time.Millisecond)
		if step < 120 {
			w.produce()
		}
		if step == 200 {
			w.regulator.trouble = 0
		}
		w.deliver()
		w.send()
		w.doubt()
		if step > 200 && step%20 == 0 {
			w.append(true) // somebody keeps reporting: a control can be found
		}
	}
}

// moving: a message was given back, or a batch proven absent, at the very end.
func (w *world) moving() bool {
	return len(w.inbox) > 0 || slices.ContainsFunc(w.batches, func(b *batch) bool { return b.state == submit.Sealed || b.state == submit.Posting })
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func (w *world) produce() {
	for range w.dice.IntN(3) {
		w.append(false)
	}
	if w.chance(5) && len(w.order) > 0 { // a second event with a report key that is known
		old := w.outbox[w.order[w.dice.IntN(len(w.order))]]
		if old.good {
			w.insert(goodMessage(w.newID(), old.key, w.now), old.key, false)
			w.counts.Reused++
		}
	}
}

func (w *world) append(control bool) {
	id, key := w.newID(), w.newID()
	switch dice := w.dice.IntN(100); {
	case control || dice < 85:
		w.insert(goodMessage(id, key, w.now), key, true)
	case dice < 92:
		w.insert(ineligibleMessage(id, key, w.now), key, false)
	default:
		w.insert(poisonMessage(id, w.dice.IntN(4), w.now), event.ID{}, false)
	}
}

func (w *world) insert(m consumer.Message, key event.ID, good bool) {
	id, _ := event.ParseID(m.MsgID)
	w.outbox[id] = &entry{message: m, key: key, good: good}
	w.order = append(w.order, id)
	w.inbox = append(w.inbox, m)
	w.counts.Appended++
}

func (w *world) newID() event.ID {
	id := event.NewID(w.now)
	for i := 6; i < 16; i++ { // repeatable
		id[i] = byte(w.dice.IntN(256))
	}
	id[6], id[8] = 0x70|id[6]&15, 0x80|id[8]&63
	return id
}

// deliver gives the consumer some messages: late, twice, respelled by another
// relay, forged, and sometimes the process dies before it answers.
func (w *world) deliver() {
	w.dice.Shuffle(len(w.inbox), func(i, j int) { w.inbox[i], w.inbox[j] = w.inbox[j], w.inbox[i] })
	n := min(len(w.inbox), w.dice.IntN(6))
	hand, rest := w.inbox[:n], slices.Clone(w.inbox[n:])
	for _, m := range hand {
		if w.chance(3) {
			rest = append(rest, m) // died before the row: nothing happened
			w.counts.Deaths++
			continue
		}
		w.consume(m)
		switch {
		case w.chance(5): // the ack was lost
			m.Delivered++
			rest = append(rest, m)
			w.counts.Redelivered++
		case w.chance(3):
			rest = append(rest, respell(m))
			w.counts.Respelled++
		case w.chance(1):
			rest = append(rest, forge(m))
			w.counts.Forged++
		}
	}
	w.inbox = rest
}

// consume is what the persist transaction does, with a map for a table.
func (w *world) consume(m consumer.Message) {
	d := consumer.Classify(m, w.known)
	var s consumer.Stored
	if d.Event != nil {
		id := d.Event.EventID
		row, there := w.rows[id]
		_, isRow := d.Row()
		switch {
		case there:
			s.Hash = &row.hash
		case w.aside[id]:
			s.Quarantined = true
		case isRow && d.Report != nil && w.keys[d.Report.InteractionID] != (event.ID{}):
			s.KeyTaken = true
		default:
			s.Inserted = isRow
		}
	}
	d = consumer.Meet(d, s)
	outcome, isRow := d.Row()
	switch {
	case isRow && s.Inserted:
		w.rows[d.Event.EventID] = stored{d.Hash, outcome}
		if d.Reason == consumer.Ineligible {
			w.counts.Ineligible++
		}
		if d.Reason == consumer.Accepted {
			w.keys[d.Report.InteractionID] = d.Event.EventID
			if len(w.chunks) == 0 {
				w.oldest = w.now
			}
			w.chunks = append(w.chunks, d.Event.EventID)
		}
	case d.Quarantined():
		if id, err := event.ParseID(m.MsgID); err == nil {
			w.aside[id] = true
			w.counts.Poisoned++
		}
	case d.Reason == consumer.Conflict:
		w.counts.Conflicts++
	case d.Reason == consumer.Duplicate:
		w.counts.Duplicated++
	}
}

// send seals and posts one batch, if one is due.
func (w *world) send() {
	items, wait := w.breaker.Gate(w.now, w.policy.MaxItems, w.timing)
	if wait > 0 || w.now.Before(w.notBy) {
		return
	}
	b := w.nextSealed()
	if b == nil {
		policy := w.policy
		policy.MaxItems = items
		level := flush.Level{Items: len(w.chunks), Bytes: int64(len(w.chunks)), Oldest: w.oldest, Deadline: w.now.Add(20 * time.Hour)}
		reason, _ := policy.Due(level, w.now)
		if !reason.Due() {
			return
		}
		n := min(len(w.chunks), items)
		b = w.seal(w.chunks[:n])
		w.chunks = slices.Clone(w.chunks[n:])
	}
	w.post(b)
}

func (w *world) nextSealed() *batch {
	for _, b := range w.batches {
		if b.state == submit.Sealed && !w.now.Before(b.notBefore) {
			return b
		}
	}
	return nil
}

func (w *world) seal(events []event.ID) *batch {
	b := &batch{id: len(w.batches), state: submit.Sealed, events: slices.Clone(events), superseded: make([]bool, len(events)), answers: map[int][]submit.Found{}}
	w.batches = append(w.batches, b)
	w.counts.Batches++
	return b
}

// post commits the marker, sends, and records the outcome, unless the process
// dies at one of the places where it can.
func (w *world) post(b *batch) {
	b.state, b.attempt, b.posted = submit.Posting, b.attempt+1, w.now
	if b.first.IsZero() {
		b.first = w.now
	}
	w.counts.Posts++
	w.log("batch %d posts attempt %d: %v", b.id, b.attempt, b.events)
	if w.chance(w.regulator.trouble / 8) { // after the marker, before the dial
		w.counts.Deaths++
		return
	}
	outcome := w.regulator.submit(b)
	if w.chance(w.regulator.trouble / 8) { // with the answer in memory
		w.counts.Deaths++
		return
	}
	w.record(b, outcome)
}

func (w *world) record(b *batch, o submit.Outcome) {
	step := submit.Next(submit.Standing{Attempt: b.attempt, LastCode: b.code, Items: len(b.events), CanAsk: true}, o, w.timing)
	w.log("batch %d: %s/%s leads to %s", b.id, o.Kind, o.Code, step.To)
	b.state, b.code, b.notBefore = step.To, o.Code, w.now.Add(step.Wait)
	if o.Code == submit.RateLimited {
		w.notBy = w.now.Add(step.Wait)
	}
	if o.Kind == submit.Refused {
		w.counts.Refusals++
	}
	for i, r := range o.Receipts {
		b.receipts = append(b.receipts, books.Receipt{Position: i, Accepted: r.Accepted})
	}
	if step.Split {
		w.counts.Splits++
		half := (len(b.events) + 1) / 2
		w.seal(b.events[:half])
		w.seal(b.events[half:])
		for i := range b.superseded {
			b.superseded[i] = true
		}
	}
	if b.state == submit.Unconfirmed {
		w.counts.Unconfirmed++
		b.probe, b.answers, b.askAt = 0, map[int][]submit.Found{}, b.posted.Add(max(w.timing.Probes[0], w.timing.PostWithin+w.timing.GiveUpAfter))
	}
	w.breaker = w.breaker.After(step.Effect, o.Code, w.now, w.timing)
}

// doubt gives up what its owner left, and asks about what is in doubt.
func (w *world) doubt() {
	for _, b := range w.batches {
		if b.state == submit.Posting && w.now.After(b.posted.Add(w.timing.PostWithin+w.timing.GiveUpAfter)) {
			w.record(b, submit.Outcome{Kind: submit.Unknown, Code: submit.OwnerLost})
		}
		if b.state == submit.Unconfirmed && !b.askAt.IsZero() && !w.now.Before(b.askAt) {
			w.ask(b)
		}
	}
}

func (w *world) ask(b *batch) {
	b.probe++
	last := b.probe >= len(w.timing.Probes)
	for i, id := range b.events {
		if last || i < w.timing.Sample {
			b.answers[i] = append(b.answers[i], w.regulator.lookup(w.outbox[id].key))
		}
	}
	var control submit.Control
	if last {
		control = w.control(b)
	}
	verdicts := make([]submit.Verdict, len(b.events))
	for i := range b.events {
		answers := b.answers[i]
		if !last && i >= w.timing.Sample {
			answers = nil
		}
		verdicts[i] = submit.Conclude(submit.Case{Answers: answers, Last: last, Control: control, First: b.first, From: b.posted, To: b.posted.Add(w.timing.PostWithin + w.timing.Exchange)})
	}
	ruling := submit.Rule(verdicts, b.probe, control.Visible, time.Hour, 24*time.Hour, w.timing)
	w.log("batch %d, probe %d: %v leads to %s, resubmit %v", b.id, b.probe, verdicts, ruling.To, ruling.Resubmit)
	b.askAt, b.person = w.now.Add(ruling.Again), b.person || ruling.Person
	if ruling.To == submit.Unconfirmed {
		return
	}
	b.state, b.notBefore = ruling.To, w.now
	for i, v := range verdicts {
		if v == submit.Presumed {
			w.counts.Presumed++
		}
		if ruling.To == submit.Submitted && (v == submit.Stored || v == submit.Presumed) {
			b.receipts = append(b.receipts, books.Receipt{Position: i, Accepted: true, Lookup: true})
		}
	}
	switch {
	case ruling.To == submit.Sealed:
		w.counts.Absent++
		w.regulator.proven(b.events)
	case len(ruling.Resubmit) > 0:
		w.counts.Mixed++
		var again []event.ID
		for _, i := range ruling.Resubmit {
			again = append(again, b.events[i])
			b.superseded[i] = true
		}
		w.regulator.proven(again)
		w.seal(again)
	}
}

// control is the oldest batch that was accepted after b was posted.
func (w *world) control(b *batch) submit.Control {
	for _, c := range w.batches {
		if c.state == submit.Submitted && c.code == submit.Receipts && c.posted.After(b.posted) && len(c.receipts) > 0 {
			f := w.regulator.lookup(w.outbox[c.events[0]].key)
			return submit.Control{Visible: f.Kind == submit.Hit, Settled: f.Settled}
		}
	}
	return submit.Control{}
}

// verdict says what is wrong at the end: with the books, with a batch, and with
// what the regulator holds.
func (w *world) verdict() []string {
	var wrong []string
	live := map[event.ID]int{}
	reported := map[event.ID]bool{}
	for _, b := range w.batches {
		facts := books.Batch{State: string(b.state), Code: string(b.code), Items: len(b.events), Superseded: b.superseded, Receipts: b.receipts}
		if d := books.JudgeBatch(facts); d != nil {
			wrong = append(wrong, fmt.Sprintf("batch %d: %s", b.id, d.Detail))
		}
		for i, id := range b.events {
			if !b.superseded[i] {
				live[id]++
			}
		}
		for _, r := range b.receipts {
			reported[b.events[r.Position]] = true
		}
		if b.state == submit.Posting || b.state == submit.Sealed {
			wrong = append(wrong, fmt.Sprintf("batch %d is still %s", b.id, b.state))
		}
	}
	waiting, accepted := map[event.ID]int{}, map[event.ID]int{}
	for _, id := range w.chunks {
		waiting[id]++
	}
	for _, id := range w.order {
		row, there := w.rows[id]
		e := books.Entry{InOutbox: true, Entitled: true, Outcome: row.outcome, Chunks: waiting[id], Batches: live[id]}
		if there {
			e.Rows = 1
		}
		if w.aside[id] {
			e.Quarantined = 1
		}
		if d, _ := books.Judge(e); d != nil {
			wrong = append(wrong, fmt.Sprintf("event %s: %s: %s", id, d.Equation, d.Detail))
		}
		if row.outcome == "accepted" {
			accepted[w.outbox[id].key]++
		}
	}
	for _, id := range w.order { // of several events with one report key, whichever came first
		if e := w.outbox[id]; e.good && accepted[e.key] != 1 {
			wrong = append(wrong, fmt.Sprintf("report key of event %s was accepted %d times", id, accepted[e.key]))
		}
	}
	if accepted[event.ID{}] > 0 {
		wrong = append(wrong, "poison was accepted")
	}
	return append(wrong, w.regulator.verdict(reported)...)
}
