package ofb

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestPairingCases are the cases about what becomes of accepted reports.
func TestPairingCases(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*testing.T, *bench){
		"case 11: both sides report the same and are paired": func(t *testing.T, b *bench) {
			c, s := b.report(araucaria, b.call(someID)), b.report(ipe, b.mirror(someID))
			b.wantReceipts(c, http.StatusOK, "ACCEPTED")
			b.wantReceipts(s, http.StatusOK, "ACCEPTED")
			b.settle()
			ours, theirs := b.wantState(araucaria, someID, "PAIRED"), b.wantState(ipe, someID, "PAIRED")
			if ours.ReportID != c.receipts[0].ReportID || ours.PairedReportID != s.receipts[0].ReportID ||
				theirs.ReportID != s.receipts[0].ReportID || theirs.PairedReportID != c.receipts[0].ReportID {
				t.Errorf("got %+v and %+v, want each other's ids", ours, theirs)
			}
		},
		"case 12: different status codes are an inconsistent pair": func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			b.report(ipe, b.mirror(someID).with("statusCode", 201))
			b.settle()
			b.wantState(araucaria, someID, "PAIRED_INCONSISTENT")
			b.wantState(ipe, someID, "PAIRED_INCONSISTENT")
		},
		"case 13: a report alone is unpaired until the other side comes": func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			s := b.mirror(someID)
			b.settle()
			b.wantState(araucaria, someID, "UNPAIRED")
			b.clock.advance(3 * 24 * time.Hour)
			delete(b.tokens, ipe)
			delete(b.tokens, araucaria)
			b.report(ipe, s)
			b.settle()
			b.wantState(araucaria, someID, "PAIRED")
		},
		"case 30: a client that gave up after 15 s excuses both sides": func(t *testing.T, b *bench) {
			b.report(araucaria, b.call(someID).with("statusCode", 408).with("processTimespan", 15001))
			b.report(ipe, b.mirror(someID))
			b.settle()
			b.wantState(araucaria, someID, "PAIRED_INCONSISTENT")
			b.wantState(ipe, someID, "PAIRED_INCONSISTENT")
			days := b.sim.Ledger(Days).Days
			if len(days) != 2 {
				t.Fatalf("got %d rows, want one per organisation", len(days))
			}
			for _, d := range days {
				if d.Sent != 1 || d.NotPaired != 0 || d.Final99 == nil || *d.Final99 != 100 {
					t.Errorf("got %+v, want one report sent at 99 %%", d)
				}
			}
		},
		"case 32: a blind retry after a lost answer leaves two copies": func(t *testing.T, b *bench) {
			b.sim.Inject(Fault{Operation: OnReport, Kind: LoseAnswer, Times: 1})
			lost := b.report(araucaria, b.call(someID))
			if lost.err == nil {
				t.Fatalf("got %d, want a reset connection", lost.status)
			}
			b.report(araucaria, b.call(someID))
			b.report(ipe, b.mirror(someID))
			b.settle()
			l := b.sim.Ledger(Keys)
			if l.Totals.Duplicates != 1 || l.States["PAIRED"] != 2 || l.States["UNPAIRED"] != 1 {
				t.Errorf("got %+v %v, want one duplicate, a pair and a copy alone", l.Totals, l.States)
			}
			k := l.Keys[0]
			if k.Arrived != 2 || k.Stored != 2 || k.Arrivals[0].Answered || !k.Arrivals[1].Answered || k.Arrivals[0].Fault != string(LoseAnswer) {
				t.Errorf("got %+v, want two stored copies, the first unanswered", k)
			}
		},
		"case 32: asking first leaves one": func(_ *testing.T, b *bench) {
			b.sim.Inject(Fault{Operation: OnReport, Kind: LoseAnswer, Times: 1})
			b.report(araucaria, b.call(someID))
			b.settle()
			b.wantState(araucaria, someID, "UNPAIRED")
			if l := b.sim.Ledger(); l.Totals.Duplicates != 0 || l.Totals.Stored != 1 || l.Totals.Unanswered != 1 {
				b.Errorf("got %+v, want one copy and one unanswered request", l.Totals)
			}
		},
		"case 33: a report can be looked up after the delay, by its parties": func(t *testing.T, b *bench) {
			r := b.report(araucaria, b.call(someID))
			b.wantMessage(b.lookup(araucaria, someID), http.StatusNotFound, "Not Found")
			b.settle()
			m := b.wantState(araucaria, someID, "UNPAIRED")
			if m.ReportID != r.receipts[0].ReportID || m.PairedReportID != "" || m.CreatedAt != formatTimestamp(epoch) {
				t.Errorf("got %+v, want the report of the receipt", m)
			}
			b.wantState(pagamentos, someID, "UNPAIRED")
			b.wantState(ipe, someID, "UNPAIRED") // the counterparty sees it too, and not whose it is
			b.wantMessage(b.lookup(jatoba, someID), http.StatusNotFound, "Not Found")
			b.wantMessage(b.lookup(araucaria, uuid.NewString()), http.StatusNotFound, "Not Found")
			b.wantMessage(b.lookup(araucaria, "no-uuid"), http.StatusNotFound, "Not Found")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, Config{}))
		})
	}
}

func TestLookupSwitches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg Config
		run func(*testing.T, *bench)
	}{
		"a report is ACCEPTED until pairing comes to it": {Config{PairingDelay: time.Minute}, func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			b.settle()
			b.wantState(araucaria, someID, "ACCEPTED")
			b.clock.advance(time.Minute)
			b.wantState(araucaria, someID, "UNPAIRED")
		}},
		"the older form of the answer has the submitted fields too": {Config{LegacyLookup: true}, func(t *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			b.settle()
			r := b.lookup(araucaria, someID)
			for _, want := range []string{`"role":"CLIENT"`, `"clientSSId"`, `"additionalInfo"`, `"reportId"`, `"status":"UNPAIRED"`} {
				if !contains(r, want) {
					t.Errorf("got %s, want %s in it", r.body, want)
				}
			}
		}},
		"also of a report that the counterparty sent": {Config{LegacyLookup: true, DataDir: t.TempDir(), Counterparty: Counterparty{Mode: Equal, EvenIfLost: true}}, func(t *testing.T, b *bench) {
			b.sim.Inject(Fault{Operation: OnReport, Kind: LoseRequest, Times: 1})
			b.report(araucaria, b.call(someID))
			b.settle()
			b.again(b.sim.cfg)
			if r := b.lookup(araucaria, someID); !contains(r, `"role":"SERVER"`) || r.header.Get("Date") != b.clock.now().Format(http.TimeFormat) {
				t.Errorf("got %s at %s, want the counterparty's", r.body, r.header.Get("Date"))
			}
		}},
		"the newer form has not": {Config{}, func(t *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			b.settle()
			if r := b.lookup(araucaria, someID); contains(r, "role") {
				t.Errorf("got %s, want no role", r.body)
			}
		}},
		"discarded items are not found": {Config{}, func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID).without("httpMethod"))
			b.settle()
			b.wantMessage(b.lookup(araucaria, someID), http.StatusNotFound, "Not Found")
		}},
		"unless the switch says so": {Config{ShowDiscarded: true}, func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID).without("httpMethod"))
			b.settle()
			b.wantState(araucaria, someID, "DISCARDED")
		}},
		"a repeated report is discarded where the platform does that": {Config{DiscardDuplicates: true}, func(t *testing.T, b *bench) {
			b.wantReceipts(b.report(araucaria, b.call(someID), b.call(someID)), http.StatusMultiStatus, "ACCEPTED", msgDuplicate)
			b.wantReceipts(b.report(pagamentos, b.call(someID)), http.StatusMultiStatus, msgDuplicate)
			if l := b.sim.Ledger(); l.Totals.Duplicates != 0 || l.Totals.Stored != 1 || l.Totals.Discarded != 2 {
				t.Errorf("got %+v, want one stored copy and two discarded", l.Totals)
			}
		}},
		"pairing ends seven days after the call": {Config{}, func(_ *testing.T, b *bench) {
			b.report(araucaria, b.call(someID))
			b.clock.advance(maxAge - 30*time.Minute)
			delete(b.tokens, araucaria)
			b.wantReceipts(b.report(ipe, b.mirror(someID)), http.StatusOK, "ACCEPTED")
			b.settle()
			b.wantState(araucaria, someID, "UNPAIRED")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.run(t, start(t, c.cfg))
		})
	}
}
