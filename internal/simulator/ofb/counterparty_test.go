package ofb

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestCounterpartyMakesEveryState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other  Counterparty
		fault  *Fault
		wait   time.Duration
		want   string // of our report; empty: not found
		theirs int64
	}{
		"nobody":                        {want: "UNPAIRED"},
		"missing":                       {other: Counterparty{Mode: Missing}, want: "UNPAIRED"},
		"equal":                         {other: Counterparty{Mode: Equal}, want: "PAIRED", theirs: 1},
		"different status":              {other: Counterparty{Mode: DifferentStatus}, want: "PAIRED_INCONSISTENT", theirs: 1},
		"late, and not yet there":       {other: Counterparty{Mode: Late, Late: Duration(time.Hour)}, want: "UNPAIRED", theirs: 1},
		"late, and there":               {other: Counterparty{Mode: Late, Late: Duration(time.Hour)}, wait: time.Hour, want: "PAIRED", theirs: 1},
		"only others are simulated":     {other: Counterparty{Mode: Equal, Organisations: []string{jatoba}}, want: "UNPAIRED"},
		"a mix of one kind":             {other: Counterparty{Mix: map[Mode]int{DifferentStatus: 3}}, want: "PAIRED_INCONSISTENT", theirs: 1},
		"ours is lost, theirs is not":   {other: Counterparty{Mode: Equal, EvenIfLost: true}, fault: &Fault{Kind: LoseRequest}, want: "UNPAIRED", theirs: 1},
		"ours is lost and none is made": {other: Counterparty{Mode: Equal}, fault: &Fault{Kind: LoseRequest}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Config{Counterparty: c.other})
			if c.fault != nil {
				c.fault.Operation, c.fault.Times = OnReport, 1
				b.sim.Inject(*c.fault)
			}
			b.report(araucaria, b.call(someID))
			b.settle()
			b.clock.advance(c.wait)
			if r := b.lookup(araucaria, someID); r.model().Status != c.want {
				t.Errorf("got %d %s, want %q", r.status, r.body, c.want)
			}
			theirs := int64(0)
			for _, n := range b.sim.Ledger().Counterparty {
				theirs += n
			}
			if theirs != c.theirs {
				t.Errorf("got %d reports of the counterparty, want %d", theirs, c.theirs)
			}
		})
	}
}

// What the counterparty reported looks like ours in the newer form of the lookup.
func TestLookupOfALostReportShowsTheCounterpartys(t *testing.T) {
	t.Parallel()
	b := start(t, Config{Counterparty: Counterparty{Mode: Equal, EvenIfLost: true}})
	b.sim.Inject(Fault{Operation: OnReport, Kind: LoseRequest, Times: 1})
	b.report(araucaria, b.call(someID))
	b.settle()
	foreign := b.wantState(araucaria, someID, "UNPAIRED")
	if foreign.PairedReportID != "" {
		t.Errorf("got %+v, want it alone", foreign)
	}
	ours := b.report(araucaria, b.call(someID))
	b.settle()
	if m := b.wantState(araucaria, someID, "PAIRED"); m.ReportID != ours.receipts[0].ReportID || m.PairedReportID != foreign.ReportID {
		t.Errorf("got %+v, want ours paired with %s", m, foreign.ReportID)
	}
}

func TestCounterpartyLeavesAloneWhoReportsForItself(t *testing.T) {
	t.Parallel()
	b := start(t, Config{Counterparty: Counterparty{Mode: Equal}})
	other := uuid.NewString()
	b.report(ipe, b.mirror(someID).with("clientOrgId", jatoba), b.mirror(other))
	b.report(araucaria, b.call(other))                                            // a second client report of that call
	b.report(araucaria, b.call(uuid.NewString()).with("serverOrgId", pagamentos)) // within the conglomerate
	if got := b.sim.Ledger().Counterparty["ACCEPTED"]; got != 2 {
		t.Errorf("got %d generated reports, want one for each call of the first request", got)
	}
}

func TestMixIsDrawnFromSeedAndInteraction(t *testing.T) {
	t.Parallel()
	c, count := Counterparty{Mix: map[Mode]int{Equal: 7, DifferentStatus: 1, Missing: 2}}, map[Mode]int{}
	for range 2000 {
		id := uuid.New()
		m := c.mode(9, id)
		if c.mode(9, id) != m {
			t.Fatal("the same interaction was drawn twice with different results")
		}
		count[m]++
	}
	if count[Equal] < 1200 || count[DifferentStatus] < 100 || count[Missing] < 250 || len(count) != 3 {
		t.Errorf("got %v, want about 7:1:2", count)
	}
}

func TestCounterpartyOverTheControlListener(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	const late = `{"mode":"late","late":"5m0s"}`
	if r := b.control(http.MethodPost, "/_counterparty", late); r.status != http.StatusOK {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := b.control(http.MethodGet, "/_counterparty", ""); string(r.body) != late+"\n" {
		t.Errorf("got %s, want %s", r.body, late)
	}
	if r := b.control(http.MethodPost, "/_counterparty", `{"mode":"never"}`); r.status != http.StatusBadRequest {
		t.Errorf("got %d, want 400", r.status)
	}
	b.report(araucaria, b.call(someID))
	if got := b.sim.Ledger().Counterparty["ACCEPTED"]; got != 1 {
		t.Errorf("got %d reports of the counterparty, want the late one", got)
	}
}
