package ofb

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// post takes a batch of reports for one of the APIs: judge, store, answer. Record,
// then answer.
func (s *Server) post(w http.ResponseWriter, r *http.Request, api string) {
	b, refusal, err := s.receive(r)
	b.api = api
	switch {
	case err != nil:
		panic(http.ErrAbortHandler)
	case refusal != nil:
		s.refuse(w, b, refusal)
		return
	}
	f := s.faults.match(OnReport, api, b.caller.Organisation)
	if f.is(Revoke) {
		s.tokens.revoke(b.caller.ID)
	}
	s.delay(f, "before")
	rec := s.judged(b, f)
	if err := s.store.record(&rec); err != nil {
		s.deliver(w, own(http.StatusInternalServerError), nil)
		return
	}
	a := s.answerTo(&rec, f, r.URL.Path)
	s.delay(f, "after")
	s.respond(w, a, f, rec.number)
}

// respond answers a recorded request and records that.
func (s *Server) respond(w http.ResponseWriter, a *answer, f *Fault, number uint64) {
	if s.deliverNoted(w, a, f, func(whole bool) { s.store.left(number, whole) }) {
		_ = s.store.answered(number) // a failed note costs a "false" after the next start
	}
}

// refuse counts a request that was not looked into, and answers it all the same when
// the journal is full.
func (s *Server) refuse(w http.ResponseWriter, b batch, refusal *answer) {
	rec := record{org: b.caller.Organisation, api: b.api, http: refusal.status, sum: b.sum}
	if s.store.record(&rec) != nil {
		s.deliver(w, refusal, nil)
		return
	}
	s.respond(w, refusal, nil, rec.number)
}

// delay waits if f says so at this point; a server that closes meanwhile drops the request.
func (s *Server) delay(f *Fault, at string) {
	when := "before"
	if f != nil && f.When == "after" {
		when = "after"
	}
	if f.is(Delay) && when == at && !s.pause(time.Duration(f.Delay)) {
		panic(http.ErrAbortHandler)
	}
}

// judged is the record of a batch: what the rules say, and what the fault makes of it.
func (s *Server) judged(b batch, f *Fault) record {
	rec := record{org: b.caller.Organisation, api: b.api, http: unplanned, fault: f.name(), sum: b.sum, items: make([]entry, len(b.items))}
	now := s.clock.now()
	for i, item := range b.items {
		e := &rec.items[i]
		e.report, e.message = s.rulesOf(b.api)(item, b.caller.Organisation, now)
		if e.message != "" {
			e.state = discarded
		}
		f.twist(e, i)
	}
	switch {
	case f.resets():
		rec.http = 0
	case f.replaces():
		rec.http = f.code()
	}
	return rec
}

// rulesOf are the rules for items of an API.
func (s *Server) rulesOf(api string) func(value, uuid.UUID, time.Time) (report, string) {
	if api == apiOpenData {
		return s.rules.judgeOpen
	}
	return s.rules.judge
}

// twist changes the fate of one item as the faults of the platform order.
func (f *Fault) twist(e *entry, i int) {
	switch {
	case f.before(), f.is(Forget) && e.state == accepted:
		e.state = notStored
	case f == nil || f.Item != i && f.Item != -1:
	case f.is(DiscardItem):
		e.state, e.message = discarded, cut(f.Message, maxMessage)
		setDefault(&e.message, msgUnmapped)
	case f.is(DiscardLater) && e.state == accepted:
		e.later = true
	}
}

func (s *Server) answerTo(rec *record, f *Fault, path string) *answer {
	if f.replaces() {
		return f.replaced(nil, path, s.clock.now())
	}
	list := receiptsOf(rec.items)
	if f != nil {
		list = f.tampered(list, s.store.earliest(), rand.New(rand.NewPCG(s.cfg.Seed, ^rec.number)))
	}
	status := rec.http
	if f.resets() {
		status = synchronous(rec.items)
	}
	return f.spoiled(&answer{status: status, body: encodeReceipts(list)})
}
