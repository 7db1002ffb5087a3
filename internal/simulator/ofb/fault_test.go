package ofb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestReportFaults shows every fault of the report operation as a client sees it, and
// what the platform then holds of the three items that were sent.
func TestReportFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  Fault
		stored int64
		seen   func(*testing.T, reply)
	}{
		"the request is lost": {Fault{Kind: LoseRequest}, 0, wantReset},
		"the answer is lost":  {Fault{Kind: LoseAnswer}, 3, wantReset},
		"the answer is cut behind the header": {Fault{Kind: CutAnswer}, 3, func(t *testing.T, r reply) {
			if r.status != http.StatusOK || len(r.body) != 0 || !errors.Is(r.err, syscall.ECONNRESET) {
				t.Errorf("got %d %q (%v), want 200, nothing, and a reset", r.status, r.body, r.err)
			}
		}},
		"the answer is cut in the body": {Fault{Kind: CutAnswer, Bytes: 17}, 3, func(t *testing.T, r reply) {
			if r.status != http.StatusOK || len(r.body) != 17 || !errors.Is(r.err, syscall.ECONNRESET) {
				t.Errorf("got %d %q (%v), want 200, 17 bytes, and a reset", r.status, r.body, r.err)
			}
		}},
		"storing is delayed":    {Fault{Kind: Delay, Delay: Duration(time.Millisecond)}, 3, wantReceipts3},
		"the answer is delayed": {Fault{Kind: Delay, Delay: Duration(time.Millisecond), When: "after"}, 3, wantReceipts3},
		"the body is slow":      {Fault{Kind: SlowBody, Bytes: 100, Delay: Duration(time.Millisecond)}, 3, wantReceipts3},
		"429 with seconds": {Fault{Kind: Status, Code: 429, RetryAfter: Duration(1500 * time.Millisecond)}, 0, func(t *testing.T, r reply) {
			if r.status != 429 || r.message() != "Too Many Requests" || r.header.Get("Retry-After") != "2" {
				t.Errorf("got %d %s, Retry-After %q", r.status, r.body, r.header.Get("Retry-After"))
			}
		}},
		"429 with a date": {Fault{Kind: Status, Code: 429, RetryAfter: Duration(time.Minute), RetryAfterAs: "date"}, 0, func(t *testing.T, r reply) {
			at, err := http.ParseTime(r.header.Get("Retry-After"))
			if err != nil || !at.Equal(epoch.Add(time.Minute)) {
				t.Errorf("got Retry-After %q, want the date a minute from now", r.header.Get("Retry-After"))
			}
		}},
		"429 with nothing": {Fault{Kind: Status, Code: 429}, 0, func(t *testing.T, r reply) {
			if r.status != 429 || r.header.Get("Retry-After") != "" {
				t.Errorf("got %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
			}
		}},
		"503 before storing": {Fault{Kind: Status, Code: 503}, 0, wantStatus(503, "Internal Server Error")},
		"500 after storing":  {Fault{Kind: Status, Code: 500, When: "after"}, 3, wantStatus(500, "Internal Server Error")},
		"400 of its own":     {Fault{Kind: Status, Code: 400}, 0, wantStatus(400, "Invalid payload format: MUST be an array")},
		"413 of its own":     {Fault{Kind: Status, Code: 413}, 0, wantStatus(413, "Record limit exceeded")},
		"a firewall's page": {Fault{Kind: ForeignBody}, 0, func(t *testing.T, r reply) {
			if r.status != 403 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || !contains(r, "<html>") {
				t.Errorf("got %d %s %s, want a page with 403", r.status, r.header.Get("Content-Type"), r.body)
			}
		}},
		"a proxy's page with 200, after storing": {Fault{Kind: ForeignBody, Code: 200, Body: "<p>hello", When: "after"}, 3, func(t *testing.T, r reply) {
			if r.status != 200 || string(r.body) != "<p>hello" {
				t.Errorf("got %d %s", r.status, r.body)
			}
		}},
		"a redirect": {Fault{Kind: Redirect}, 0, func(t *testing.T, r reply) {
			if r.status != 307 || r.header.Get("Location") != reportsPath+"?moved=1" {
				t.Errorf("got %d to %q", r.status, r.header.Get("Location"))
			}
		}},
		"a revoked token": {Fault{Kind: Revoke}, 0, wantStatus(401, "Unauthorized")},
		"a truncated body": {Fault{Kind: Truncate}, 3, func(t *testing.T, r reply) {
			if r.err != nil || r.status != 200 || json.Valid(r.body) {
				t.Errorf("got %d %s (%v), want half of a document in a whole answer", r.status, r.body, r.err)
			}
		}},
		"shuffled receipts": {Fault{Kind: Shuffle}, 3, func(t *testing.T, r reply) {
			if len(r.receipts) != 3 || r.receipts[0].CorrelationID == "corr-00000000" || r.receipts[1].CorrelationID == "corr-00000001" {
				t.Errorf("got %v, want none in its place", r.receipts)
			}
		}},
		"a receipt twice": {Fault{Kind: DuplicateReceipt}, 3, func(t *testing.T, r reply) {
			if len(r.receipts) != 3 || r.receipts[0] != r.receipts[1] {
				t.Errorf("got %v, want the first receipt twice", r.receipts)
			}
		}},
		"a receipt too few":  {Fault{Kind: WrongLength}, 3, wantLength(2)},
		"two receipts more":  {Fault{Kind: WrongLength, Extra: 2}, 3, wantLength(5)},
		"unknown report ids": {Fault{Kind: ForeignIDs}, 3, wantLength(3)},
		"malformed ids": {Fault{Kind: ForeignIDs, Form: MalformedID}, 3, func(t *testing.T, r reply) {
			if uuid.Validate(r.receipts[0].ReportID) == nil {
				t.Errorf("got %v, want no UUID", r.receipts)
			}
		}},
		"ids of an earlier report": {Fault{Kind: ForeignIDs, Form: EarlierID}, 3, func(t *testing.T, r reply) {
			if r.receipts[0].ReportID != r.receipts[2].ReportID {
				t.Errorf("got %v, want one id for all", r.receipts)
			}
		}},
		"ids under another name": {Fault{Kind: ForeignIDs, Form: EventID}, 3, func(t *testing.T, r reply) {
			if r.receipts[0].ReportID != "" || r.receipts[0].EventID == "" {
				t.Errorf("got %v, want eventId", r.receipts)
			}
		}},
		"an unknown status": {Fault{Kind: UnknownStatus}, 3, func(t *testing.T, r reply) {
			if r.receipts[0].Status != unknownStatus {
				t.Errorf("got %v", r.receipts)
			}
		}},
		"a compressed answer": {Fault{Kind: Gzip}, 3, func(t *testing.T, r reply) {
			z, err := gzip.NewReader(bytes.NewReader(r.body))
			if err != nil || r.header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("got %q (%v), want gzip", r.header.Get("Content-Encoding"), err)
			}
			if plain, err := io.ReadAll(z); err != nil || !json.Valid(plain) {
				t.Errorf("got %s (%v)", plain, err)
			}
		}},
		"a huge answer": {Fault{Kind: Huge}, 3, func(t *testing.T, r reply) {
			if len(r.body) != hugeBody || len(r.receipts) != 3 {
				t.Errorf("got %d bytes and %d receipts, want %d and 3", len(r.body), len(r.receipts), hugeBody)
			}
		}},
		"one item discarded": {Fault{Kind: DiscardItem, Item: 1, Message: "Validation error: no reason"}, 2, func(t *testing.T, r reply) {
			if r.status != 207 || r.receipts[1].Message != "Validation error: no reason" || r.receipts[0].Status != "ACCEPTED" {
				t.Errorf("got %d %v", r.status, r.receipts)
			}
		}},
		"all items discarded": {Fault{Kind: DiscardItem, Item: -1}, 0, func(t *testing.T, r reply) {
			if r.status != 207 || r.receipts[2].Message != msgUnmapped {
				t.Errorf("got %d %v", r.status, r.receipts)
			}
		}},
		"accepted and forgotten":       {Fault{Kind: Forget}, 0, wantReceipts3},
		"accepted and discarded later": {Fault{Kind: DiscardLater, Item: 2}, 2, wantReceipts3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Config{})
			b.faulty = true
			c.fault.Operation, c.fault.Times = OnReport, 1
			b.sim.Inject(c.fault)
			items := []item{b.call("00000000" + someID[8:]), b.call("00000001" + someID[8:]), b.call("00000002" + someID[8:])}
			c.seen(t, b.report(araucaria, items...))
			b.settle()
			l := b.sim.Ledger(Keys)
			if l.Totals.Items != 3 || l.Totals.Stored != c.stored || len(l.Keys) != 3 || l.Keys[0].Arrivals[0].Fault != string(c.fault.Kind) {
				t.Errorf("got %+v, want 3 items of which %d are stored", l.Totals, c.stored)
			}
			if f := b.sim.Faults()[0]; f.Hits != 1 || !f.Spent {
				t.Errorf("got %+v, want a spent fault", f)
			}
			b.faulty = false
			delete(b.tokens, araucaria)
			if c.fault.Kind != Revoke { // the cache still hands out the revoked one
				b.wantReceipts(b.report(araucaria, b.call(someID)), http.StatusOK, "ACCEPTED")
			}
		})
	}
}

func wantReset(t *testing.T, r reply) {
	t.Helper()
	if r.status != 0 || !errors.Is(r.err, syscall.ECONNRESET) {
		t.Errorf("got %d (%v), want a reset", r.status, r.err)
	}
}

func wantReceipts3(t *testing.T, r reply) {
	t.Helper()
	wantLength(3)(t, r)
	for _, got := range r.receipts {
		if got.Status != "ACCEPTED" {
			t.Errorf("got %v, want accepted", got)
		}
	}
}

func wantLength(n int) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		t.Helper()
		if r.err != nil || r.status != http.StatusOK || len(r.receipts) != n {
			t.Errorf("got %d with %d receipts (%v), want 200 with %d", r.status, len(r.receipts), r.err, n)
		}
	}
}

func wantStatus(status int, message string) func(*testing.T, reply) {
	return func(t *testing.T, r reply) {
		t.Helper()
		if r.status != status || r.message() != message {
			t.Errorf("got %d %s (%v), want %d %q", r.status, r.body, r.err, status, message)
		}
	}
}

// One after the other on one simulator: the last one leaves a revoked token behind.
func TestLookupFaults(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	b.report(araucaria, b.call(someID))
	b.settle()
	b.faulty = true
	for _, c := range []struct {
		fault Fault
		seen  func(*testing.T, reply)
	}{
		{Fault{Kind: Hide}, wantStatus(404, "Not Found")},
		{Fault{Kind: LoseRequest}, wantReset},
		{Fault{Kind: LoseAnswer}, wantReset},
		{Fault{Kind: Status, Code: 500}, wantStatus(500, "Internal Server Error")},
		{Fault{Kind: Status, Code: 429, When: "after"}, wantStatus(429, "Too Many Requests")},
		{Fault{Kind: CutAnswer, Bytes: 5}, func(t *testing.T, r reply) {
			if len(r.body) != 5 || r.err == nil {
				t.Errorf("got %q (%v), want 5 bytes and a reset", r.body, r.err)
			}
		}},
		{Fault{Kind: UnknownStatus}, func(t *testing.T, r reply) {
			if r.model().Status != unknownStatus {
				t.Errorf("got %s", r.body)
			}
		}},
		{Fault{Kind: ForeignIDs, Form: EventID}, func(t *testing.T, r reply) {
			if r.model().ReportID != "" || r.model().EventID == "" {
				t.Errorf("got %s", r.body)
			}
		}},
		{Fault{Kind: Truncate, Bytes: 10}, func(t *testing.T, r reply) {
			if len(r.body) != 10 {
				t.Errorf("got %s", r.body)
			}
		}},
		{Fault{Kind: Revoke}, wantStatus(401, "Unauthorized")},
	} {
		t.Run(string(c.fault.Kind), func(t *testing.T) {
			c.fault.Operation, c.fault.Times = OnLookup, 1
			b.sim.Inject(c.fault)
			c.seen(t, b.lookup(araucaria, someID))
		})
	}
	if r := b.lookup(araucaria, someID); r.status != http.StatusUnauthorized {
		t.Errorf("got %d with the revoked token, want 401", r.status)
	}
	b.faulty = false
	if b.token(araucaria) != tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria))).AccessToken {
		t.Error("the cache gave a new token, want the revoked one")
	}
	b.tokens[araucaria] = tokenIn(t, b.askToken(araucaria, "/token-fresh/", formType, b.form(araucaria))).AccessToken
	b.wantState(araucaria, someID, "UNPAIRED")
}

func TestTokenFaults(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	b.faulty = true
	ask := func() reply { return b.askToken(araucaria, "/token/", formType, b.form(araucaria)) }
	for name, c := range map[string]struct {
		fault Fault
		seen  func(*testing.T, reply)
	}{
		"lost": {Fault{Kind: LoseAnswer}, wantReset},
		"503":  {Fault{Kind: Status, Code: 503}, wantStatus(503, "Internal Server Error")},
		"a page": {Fault{Kind: ForeignBody, Code: 502}, func(t *testing.T, r reply) {
			if r.status != 502 || !contains(r, "<html>") {
				t.Errorf("got %d %s", r.status, r.body)
			}
		}},
		"short life": {Fault{Kind: ExpiresIn, Delay: Duration(30 * time.Second)}, func(t *testing.T, r reply) {
			if got := tokenIn(t, r).ExpiresIn; got != 30 {
				t.Errorf("got %d s, want 30", got)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.Operation, c.fault.Organisation, c.fault.Times = OnToken, araucaria, 1
			b.sim.Inject(c.fault)
			if r := b.askToken(ipe, "/token/", formType, b.form(ipe)); r.status != http.StatusOK {
				t.Errorf("got %d for another organisation, want 200", r.status)
			}
			c.seen(t, ask())
			tokenIn(t, ask())
		})
	}
}

func TestFaultsAreChosen(t *testing.T) {
	t.Parallel()
	hits := func(f Fault, seed uint64, n int) (list []int) {
		s := &faults{seed: seed}
		f.Operation, f.Kind = OnReport, LoseAnswer
		if _, err := s.add(f); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if s.match(OnReport, "", uuid.MustParse(araucaria)) != nil {
				list = append(list, i)
			}
		}
		return list
	}
	for name, c := range map[string]struct {
		fault Fault
		want  int
	}{
		"until deleted":               {Fault{}, 1000},
		"a number of times":           {Fault{Times: 3}, 3},
		"after some have passed":      {Fault{Skip: 998}, 2},
		"for one organisation":        {Fault{Organisation: strings.ToUpper(araucaria)}, 1000},
		"not for another":             {Fault{Organisation: ipe}, 0},
		"by odds, then spent":         {Fault{Probability: 0.5, Times: 20}, 20},
		"never with odds of one in ∞": {Fault{Probability: 1e-300}, 0},
	} {
		if got := hits(c.fault, 1, 1000); len(got) != c.want {
			t.Errorf("%s: got %d hits, want %d", name, len(got), c.want)
		}
	}
	a, again, other := hits(Fault{Probability: 0.3}, 5, 100), hits(Fault{Probability: 0.3}, 5, 100), hits(Fault{Probability: 0.3}, 6, 100)
	if len(a) < 15 || len(a) > 45 || !equal(a, again) || equal(a, other) {
		t.Errorf("got %v, %v and %v, want about 30, the same for one seed", a, again, other)
	}
}

func equal(a, b []int) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestFaultsThatCannotHappenAreRefused(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Fault{
		"unknown operation":     {Operation: "post", Kind: LoseAnswer},
		"kind of another":       {Operation: OnToken, Kind: Shuffle},
		"status without a code": {Operation: OnReport, Kind: Status},
		"delay without a time":  {Operation: OnReport, Kind: Delay},
		"when":                  {Operation: OnReport, Kind: Status, Code: 500, When: "later"},
		"probability":           {Operation: OnReport, Kind: LoseAnswer, Probability: 2},
		"form":                  {Operation: OnReport, Kind: ForeignIDs, Form: "x"},
	} {
		if _, err := (&faults{}).add(f); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
