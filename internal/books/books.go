// Package books says whether everything that came in is accounted for.
//
// Promise: an event that is lost, doubled or in two places at once is named.
// State:   the table days, which says which books are closed; otherwise facts in,
//
//	differences out.
//
// Failure: a day that does not balance stays open.
package books

import (
	"fmt"
	"strings"
)

// Equation names what must hold.
type Equation string

// The equations.
const (
	Owed       Equation = "owed"        // an event that a consumer is owed has a consumer row or is in quarantine
	ExactlyOne Equation = "exactly_one" // and not both
	Ghost      Equation = "ghost"       // a consumer row without an outbox row
	Placed     Equation = "placed"      // an accepted event waits in a chunk, is in a live batch, or is in quarantine
	PlacedOnce Equation = "placed_once" // in exactly one of these
	Orphan     Equation = "orphan"      // what waits or was sent was accepted
	Receipted  Equation = "receipted"   // a batch's state and its receipts say the same
	Counted    Equation = "counted"     // the running counts are the real ones
)

// Entry is everything that is known about one event at one consumer.
type Entry struct {
	InOutbox    bool
	Entitled    bool   // the consumer is owed it
	Young       bool   // appended so recently that it may still be on its way
	Rows        int    // consumer rows
	Outcome     string // of the consumer row
	Quarantined int    // set aside at ingest, and not given back
	Chunks      int    // waiting
	Batches     int    // in a batch that no other has taken it over from
	SetAside    int    // accepted, but could not be put into a batch
}

// Difference is one equation that does not hold.
type Difference struct {
	Equation Equation
	Detail   string
}

// Judge names the first equation that an event breaks; pending reports one that
// is merely not settled yet.
func Judge(e Entry) (d *Difference, pending bool) {
	places := e.Chunks + e.Batches + e.SetAside
	accepted := e.Rows > 0 && e.Outcome == "accepted"
	switch {
	case e.Rows > 1:
		return &Difference{ExactlyOne, fmt.Sprintf("%d consumer rows", e.Rows)}, false
	case e.Rows > 0 && e.Quarantined > 0:
		return &Difference{ExactlyOne, "a consumer row (" + e.Outcome + ") and in quarantine"}, false
	case !e.InOutbox && e.Rows > 0:
		return &Difference{Ghost, "a consumer row (" + e.Outcome + ") without an outbox row"}, false
	case !accepted && places > 0:
		return &Difference{Orphan, "waits or was sent without having been accepted"}, false
	case accepted && places == 0:
		return &Difference{Placed, "accepted, but in no chunk, no live batch and not in quarantine"}, false
	case accepted && places > 1:
		return &Difference{PlacedOnce, fmt.Sprintf("accepted, in %d chunks, %d live batches and %d times in quarantine", e.Chunks, e.Batches, e.SetAside)}, false
	case e.InOutbox && e.Entitled && e.Rows == 0 && e.Quarantined == 0:
		if e.Young {
			return nil, true
		}
		return &Difference{Owed, "in the outbox, but neither a consumer row nor in quarantine"}, false
	}
	return nil, false
}

// Batch is what is known about one batch.
type Batch struct {
	State      string
	Code       string
	Items      int
	Superseded []bool    // by position: another batch has taken the item over
	Receipts   []Receipt // in any order
}

// Receipt is what a batch's book-keeping needs of one.
type Receipt struct {
	Position int
	Accepted bool
	Lookup   bool
}

// JudgeBatch holds a batch's state against its receipts.
func JudgeBatch(b Batch) *Difference {
	accepted, refused, answered := make([]int, b.Items), make([]int, b.Items), 0
	for _, r := range b.Receipts {
		switch {
		case r.Position < 0 || r.Position >= b.Items:
			return &Difference{Receipted, fmt.Sprintf("a receipt for position %d of %d", r.Position, b.Items)}
		case r.Lookup && r.Accepted:
			accepted[r.Position] = max(accepted[r.Position], 1) // the same one may be found again
		case r.Accepted:
			accepted[r.Position]++
			answered++
		default:
			refused[r.Position]++
			answered++
		}
	}
	yes, no := 0, 0
	for i := range b.Items {
		live := i >= len(b.Superseded) || !b.Superseded[i]
		switch {
		case accepted[i]+refused[i] > 1:
			return &Difference{Receipted, fmt.Sprintf("position %d has %d receipts", i, accepted[i]+refused[i])}
		case !live && accepted[i] > 0:
			return &Difference{Receipted, fmt.Sprintf("position %d has a receipt and was taken over by another batch", i)}
		case live && final(b.State) && accepted[i]+refused[i] == 0 && !refusedWhole(b):
			return &Difference{Receipted, fmt.Sprintf("%s, but position %d has no receipt", b.State, i)}
		}
		yes, no = yes+accepted[i], no+refused[i]
	}
	if why := contradiction(b, yes, no); why != "" {
		return &Difference{Receipted, why}
	}
	return nil
}

func final(state string) bool {
	return state == "submitted" || state == "partially_accepted" || state == "rejected"
}

// refusedWhole is a batch that the regulator refused without looking at items.
func refusedWhole(b Batch) bool { return b.State == "rejected" && b.Code != "receipts" }

func contradiction(b Batch, yes, no int) string {
	switch {
	case !final(b.State) && b.State != "written_off" && yes+no > 0:
		return fmt.Sprintf("%s, but there are %d receipts", b.State, yes+no)
	case b.State == "submitted" && no > 0:
		return fmt.Sprintf("submitted, but %d items were refused", no)
	case b.State == "partially_accepted" && (yes == 0 || no == 0):
		return fmt.Sprintf("partially_accepted, but %d items were accepted and %d refused", yes, no)
	case b.State == "rejected" && yes > 0:
		return fmt.Sprintf("rejected, but %d items were accepted", yes)
	}
	return ""
}

// Counts are the running counts of one page: a tenant's day at one consumer.
type Counts struct{ Accepted, Ineligible, Canary, Quarantined int64 }

// Add counts one consumer row.
func (c *Counts) Add(outcome string) {
	switch {
	case outcome == "accepted":
		c.Accepted++
	case outcome == "canary":
		c.Canary++
	case strings.HasPrefix(outcome, "ineligible:"):
		c.Ineligible++
	}
}

// Compare holds the running counts against a recount.
func Compare(running, recount Counts) *Difference {
	if running == recount {
		return nil
	}
	return &Difference{Counted, fmt.Sprintf("running counts %+v, recount %+v", running, recount)}
}
