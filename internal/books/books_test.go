package books

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		entry   Entry
		want    Equation
		pending bool
	}{
		"waits in a chunk":                      {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Chunks: 1}, "", false},
		"is in a live batch":                    {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Batches: 1}, "", false},
		"could not be put into a batch":         {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", SetAside: 1}, "", false},
		"is not reportable":                     {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "ineligible:unlisted_endpoint"}, "", false},
		"is in quarantine":                      {Entry{InOutbox: true, Entitled: true, Quarantined: 1}, "", false},
		"is owed to nobody":                     {Entry{InOutbox: true}, "", false},
		"is on its way":                         {Entry{InOutbox: true, Entitled: true, Young: true}, "", true},
		"never arrived":                         {Entry{InOutbox: true, Entitled: true}, Owed, false},
		"has a row and is in quarantine":        {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Chunks: 1, Quarantined: 1}, ExactlyOne, false},
		"has two rows":                          {Entry{InOutbox: true, Entitled: true, Rows: 2, Outcome: "accepted", Chunks: 1}, ExactlyOne, false},
		"has a row but was never in the outbox": {Entry{Rows: 1, Outcome: "accepted", Chunks: 1}, Ghost, false},
		"accepted, and nowhere":                 {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted"}, Placed, false},
		"in a chunk and in a batch":             {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Chunks: 1, Batches: 1}, PlacedOnce, false},
		"in two live batches":                   {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Batches: 2}, PlacedOnce, false},
		"sent without having been accepted":     {Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "ineligible:x", Batches: 1}, Orphan, false},
		"sent and unheard of":                   {Entry{Batches: 1}, Orphan, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, pending := Judge(tc.entry)
			if got := equation(d); got != tc.want || pending != tc.pending {
				t.Fatalf("got %q, pending %v, want %q, %v", got, pending, tc.want, tc.pending)
			}
		})
	}
}

func equation(d *Difference) Equation {
	if d == nil {
		return ""
	}
	return d.Equation
}

func TestJudgeBatch(t *testing.T) {
	t.Parallel()
	yes, no := func(at int) Receipt { return Receipt{Position: at, Accepted: true} }, func(at int) Receipt { return Receipt{Position: at} }
	found := func(at int) Receipt { return Receipt{Position: at, Accepted: true, Lookup: true} }
	for name, tc := range map[string]struct {
		batch Batch
		fits  bool
	}{
		"sealed":                           {Batch{State: "sealed", Items: 2}, true},
		"submitted":                        {Batch{State: "submitted", Items: 2, Receipts: []Receipt{yes(1), yes(0)}}, true},
		"submitted by asking, twice found": {Batch{State: "submitted", Items: 1, Receipts: []Receipt{found(0), found(0)}}, true},
		"some refused":                     {Batch{State: "partially_accepted", Code: "receipts", Items: 2, Receipts: []Receipt{yes(0), no(1)}}, true},
		"all refused":                      {Batch{State: "rejected", Code: "receipts", Items: 1, Receipts: []Receipt{no(0)}}, true},
		"refused as a whole":               {Batch{State: "rejected", Code: "bad_request", Items: 2}, true},
		"half taken over":                  {Batch{State: "submitted", Items: 2, Superseded: []bool{false, true}, Receipts: []Receipt{found(0)}}, true},
		"submitted without a receipt":      {Batch{State: "submitted", Items: 2, Receipts: []Receipt{yes(0)}}, false},
		"submitted with a refusal":         {Batch{State: "submitted", Items: 2, Receipts: []Receipt{yes(0), no(1)}}, false},
		"partially, but all accepted":      {Batch{State: "partially_accepted", Items: 1, Receipts: []Receipt{yes(0)}}, false},
		"rejected with an acceptance":      {Batch{State: "rejected", Code: "receipts", Items: 2, Receipts: []Receipt{yes(0), no(1)}}, false},
		"all refused, one receipt missing": {Batch{State: "rejected", Code: "receipts", Items: 2, Receipts: []Receipt{no(0)}}, false},
		"two receipts for one item":        {Batch{State: "submitted", Items: 1, Receipts: []Receipt{yes(0), yes(0)}}, false},
		"answered and found":               {Batch{State: "submitted", Items: 1, Receipts: []Receipt{yes(0), found(0)}}, true},
		"a receipt for no item":            {Batch{State: "submitted", Items: 1, Receipts: []Receipt{yes(0), yes(1)}}, false},
		"taken over with a receipt":        {Batch{State: "submitted", Items: 2, Superseded: []bool{false, true}, Receipts: []Receipt{yes(0), yes(1)}}, false},
		"in doubt with a receipt":          {Batch{State: "submit_unconfirmed", Items: 1, Receipts: []Receipt{yes(0)}}, false},
		"sealed with a receipt":            {Batch{State: "sealed", Items: 1, Receipts: []Receipt{found(0)}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := JudgeBatch(tc.batch); (d == nil) != tc.fits {
				t.Fatalf("got %v, want fits %v", d, tc.fits)
			}
		})
	}
}

// Moving an accepted event from place to place keeps the books; losing it,
// doubling it or forgetting where it came from does not.
func TestBooksBalanceAsLongAsEventsOnlyMove(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{InOutbox: true, Entitled: true, Rows: 1, Outcome: "accepted", Chunks: 1}
		for range rapid.IntRange(0, 8).Draw(t, "moves") {
			places := []*int{&e.Chunks, &e.Batches, &e.SetAside}
			*places[0], *places[1], *places[2] = 0, 0, 0
			*rapid.SampledFrom(places).Draw(t, "to") = 1
			if d, pending := Judge(e); d != nil || pending {
				t.Fatalf("moved, and got %v", d)
			}
		}
		for _, harm := range []func(e *Entry){
			func(e *Entry) { e.Chunks, e.Batches, e.SetAside = 0, 0, 0 },
			func(e *Entry) { e.Chunks++ },
			func(e *Entry) { e.Batches++ },
			func(e *Entry) { e.Rows = 0 },
			func(e *Entry) { e.Rows++ },
			func(e *Entry) { e.InOutbox = false },
			func(e *Entry) { e.Quarantined++ },
			func(e *Entry) { e.Outcome = "ineligible:x" },
		} {
			broken := e
			harm(&broken)
			if d, _ := Judge(broken); d == nil {
				t.Fatalf("%+v passes", broken)
			}
		}
	})
}

func TestMayClose(t *testing.T) {
	t.Parallel()
	of := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	over := of.Add(48 * time.Hour)
	for name, tc := range map[string]struct {
		now, seen            time.Time
		missing, differences int
		want                 Hindrance
	}{
		"a moment too early":              {over.Add(-time.Nanosecond), over.Add(-time.Nanosecond), 0, 0, Early},
		"somebody may still add to it":    {over.Add(time.Hour), over.Add(-time.Nanosecond), 0, 0, Unseen},
		"an event has no row":             {over.Add(time.Hour), over, 1, 0, Missing},
		"an equation does not hold":       {over.Add(time.Hour), over, 0, 1, Unbalanced},
		"over, seen, whole and balanced":  {over, over, 0, 0, None},
		"what is missing comes first":     {over, over, 1, 1, Missing},
		"nothing is judged before it can": {over, of, 1, 1, Unseen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := MayClose(of, tc.now, tc.seen, tc.missing, tc.differences); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
