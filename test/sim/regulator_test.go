package sim

import (
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/submit"
)

// regulator stores what reaches it, never tells two reports of one call apart,
// shows each after a while, and fails as often as trouble says.
type regulator struct {
	world   *world
	reports map[event.ID][]report // by report key
	visible time.Duration
	trouble int  // percent
	shows   bool // lookups show the role
	wrong   []string
}

type report struct {
	id      event.ID
	created time.Time
	status  string
}

// submit is the wire: what the regulator does, and what of it comes back.
func (r *regulator) submit(b *batch) submit.Outcome {
	w := r.world
	unknown := func(code submit.Code) submit.Outcome { return submit.Outcome{Kind: submit.Unknown, Code: code} }
	if !w.chance(r.trouble) {
		return r.answer(b)
	}
	switch w.dice.IntN(9) {
	case 0:
		return submit.Outcome{Kind: submit.NeverSent, Code: submit.ConnectFailed}
	case 1:
		w.counts.LostRequests++
		return unknown(submit.AnswerLost)
	case 2:
		w.counts.LostAnswers++
		r.store(b)
		return unknown(submit.AnswerLost)
	case 3:
		w.counts.GarbledAnswers++
		r.store(b)
		return unknown(submit.AnswerMismatch)
	case 4:
		return submit.Outcome{Kind: submit.Refused, Code: submit.RateLimited, After: time.Duration(w.dice.IntN(5)) * time.Second}
	case 5:
		return submit.Outcome{Kind: submit.Refused, Code: submit.Unauthorized}
	case 6:
		if len(b.events) > 1 {
			return submit.Outcome{Kind: submit.Refused, Code: submit.TooLarge}
		}
		return r.answer(b)
	case 7: // part of it was stored, then it fell over
		half := *b
		half.events = b.events[:len(b.events)/2]
		r.store(&half)
		return unknown(submit.ServerError)
	default:
		return unknown(submit.ServerError)
	}
}

func (r *regulator) answer(b *batch) submit.Outcome {
	o := submit.Outcome{Kind: submit.Answered, Code: submit.Receipts}
	for _, id := range r.store(b) {
		o.Receipts = append(o.Receipts, evidence.Receipt{Status: "ACCEPTED", Accepted: true, ReportID: id})
	}
	return o
}

func (r *regulator) store(b *batch) []event.ID {
	ids := make([]event.ID, 0, len(b.events))
	for _, e := range b.events {
		key := r.world.outbox[e].key
		if len(r.reports[key]) > 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("the report of event %s is stored twice", e))
		}
		id := r.world.newID()
		r.reports[key] = append(r.reports[key], report{id: id, created: r.world.now, status: "UNPAIRED"})
		ids = append(ids, id)
	}
	return ids
}

// proven hears that items were found to be absent, and knows better.
func (r *regulator) proven(events []event.ID) {
	for _, e := range events {
		if len(r.reports[r.world.outbox[e].key]) > 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("event %s was proven absent, but its report is there", e))
		}
	}
}

func (r *regulator) lookup(key event.ID) submit.Found {
	if r.world.chance(r.trouble / 4) {
		return submit.Found{Kind: submit.Nothing}
	}
	stored := r.reports[key]
	if len(stored) == 0 || r.world.now.Before(stored[0].created.Add(r.visible)) {
		return submit.Found{Kind: submit.Absent}
	}
	return submit.Found{Kind: submit.Hit, ReportID: stored[0].id, CreatedAt: stored[0].created, Status: evidence.Status(stored[0].status), Ours: r.shows, Settled: true}
}

// verdict holds what the regulator has against what we have receipts for.
func (r *regulator) verdict(receipted map[event.ID]bool) []string {
	wrong := r.wrong
	for id, e := range r.world.outbox {
		there := len(r.reports[e.key]) > 0
		switch {
		case receipted[id] && !there:
			wrong = append(wrong, fmt.Sprintf("event %s has a receipt, but the regulator does not know it", id))
		case e.good && !there && r.settled(id):
			wrong = append(wrong, fmt.Sprintf("event %s is settled, but the regulator does not know it", id))
		}
	}
	return wrong
}

func (r *regulator) settled(id event.ID) bool {
	for _, b := range r.world.batches {
		for i, e := range b.events {
			if e == id && !b.superseded[i] {
				return b.state == submit.Submitted
			}
		}
	}
	return false
}
