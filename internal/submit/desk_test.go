package submit_test

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
)

type states = map[submit.State]int

// Each row of docs/outcomes.md against the simulator: what the first attempt
// comes to, and what becomes of it once the fault is over. Every row ends with
// the same question: is each report there exactly once?
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const items = 5
	long := simulator.Duration(10 * time.Second)
	for name, tc := range map[string]struct {
		fault  simulator.Fault
		wire   func(*testenv.FaultProxy)
		code   string
		first  states
		last   states
		stored int // -1: items
	}{
		"all accepted":              {fault: simulator.Fault{}, code: "receipts/receipts", first: states{submit.Submitted: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"one discarded":             {fault: simulator.Fault{Kind: simulator.DiscardItem, Item: 1}, code: "receipts/receipts", first: states{submit.PartiallyAccepted: 1}, last: states{submit.PartiallyAccepted: 1}, stored: items - 1},
		"all discarded":             {fault: simulator.Fault{Kind: simulator.DiscardItem, Item: -1}, code: "receipts/receipts", first: states{submit.Rejected: 1}, last: states{submit.Rejected: 1}, stored: 0},
		"no token":                  {fault: simulator.Fault{Operation: simulator.OnToken, Kind: simulator.LoseRequest}, code: "never_sent/token_failed", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"token host answers 500":    {fault: simulator.Fault{Operation: simulator.OnToken, Kind: simulator.Status, Code: 500}, code: "never_sent/token_failed", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"connection refused":        {wire: func(p *testenv.FaultProxy) { p.Next(testenv.Rule{Refuse: true}) }, code: "never_sent/connect_failed", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"reset in the handshake":    {wire: func(p *testenv.FaultProxy) { p.Next(testenv.Rule{Up: testenv.Fault{After: 100, Then: testenv.Reset}}) }, code: "never_sent/connect_failed", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"400":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 400}, code: "refused/bad_request", first: states{submit.Rejected: 1}, last: states{submit.Rejected: 1}, stored: 0},
		"406":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 406}, code: "refused/not_acceptable", first: states{submit.Rejected: 1}, last: states{submit.Rejected: 1}, stored: 0},
		"415":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 415}, code: "refused/unsupported_media", first: states{submit.Rejected: 1}, last: states{submit.Rejected: 1}, stored: 0},
		"401, once":                 {fault: simulator.Fault{Kind: simulator.Status, Code: 401}, code: "receipts/receipts refused/unauthorized", first: states{submit.Submitted: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"401, twice":                {fault: simulator.Fault{Kind: simulator.Status, Code: 401, Times: 2}, code: "refused/unauthorized", first: states{submit.Sealed: 1}, last: states{submit.Sealed: 1}, stored: 0},
		"403":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 403}, code: "refused/forbidden", first: states{submit.Sealed: 1}, last: states{submit.Sealed: 1}, stored: 0},
		"413":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 413}, code: "receipts/receipts refused/too_large", first: states{submit.Rejected: 1, submit.Submitted: 2}, last: states{submit.Rejected: 1, submit.Submitted: 2}, stored: -1},
		"429 with seconds":          {fault: simulator.Fault{Kind: simulator.Status, Code: 429, RetryAfter: simulator.Duration(7 * time.Second)}, code: "refused/rate_limited", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"429 with a date":           {fault: simulator.Fault{Kind: simulator.Status, Code: 429, RetryAfter: simulator.Duration(7 * time.Second), RetryAfterAs: "date"}, code: "refused/rate_limited", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"429 without":               {fault: simulator.Fault{Kind: simulator.Status, Code: 429}, code: "refused/rate_limited", first: states{submit.Sealed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"truncated receipts":        {fault: simulator.Fault{Kind: simulator.Truncate, Bytes: 30}, code: "unknown/answer_unreadable", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"one receipt too few":       {fault: simulator.Fault{Kind: simulator.WrongLength}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"one receipt too many":      {fault: simulator.Fault{Kind: simulator.WrongLength, Extra: 1}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"a receipt twice":           {fault: simulator.Fault{Kind: simulator.DuplicateReceipt}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"shuffled receipts":         {fault: simulator.Fault{Kind: simulator.Shuffle}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"an unknown status":         {fault: simulator.Fault{Kind: simulator.UnknownStatus}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"malformed report ids":      {fault: simulator.Fault{Kind: simulator.ForeignIDs, Form: simulator.MalformedID}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"eventId for reportId":      {fault: simulator.Fault{Kind: simulator.ForeignIDs, Form: simulator.EventID}, code: "unknown/answer_mismatch", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"a compressed answer":       {fault: simulator.Fault{Kind: simulator.Gzip}, code: "unknown/answer_unreadable", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"an answer of 17 MiB":       {fault: simulator.Fault{Kind: simulator.Huge, Bytes: 17 << 20}, code: "unknown/answer_unreadable", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"a firewall's 403":          {fault: simulator.Fault{Kind: simulator.ForeignBody, Code: 403}, code: "unknown/foreign_answer", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"a gateway's 429":           {fault: simulator.Fault{Kind: simulator.ForeignBody, Code: 429}, code: "unknown/foreign_answer", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"a redirect":                {fault: simulator.Fault{Kind: simulator.Redirect}, code: "unknown/unexpected_status", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"404":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 404}, code: "unknown/unexpected_status", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"405":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 405}, code: "unknown/unexpected_status", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"408":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 408}, code: "unknown/unexpected_status", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"500 before storing":        {fault: simulator.Fault{Kind: simulator.Status, Code: 500}, code: "unknown/server_error", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"500 after storing":         {fault: simulator.Fault{Kind: simulator.Status, Code: 500, When: "after"}, code: "unknown/server_error", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"503 with Retry-After":      {fault: simulator.Fault{Kind: simulator.Status, Code: 503, RetryAfter: simulator.Duration(time.Second)}, code: "unknown/server_error", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"request never arrived":     {fault: simulator.Fault{Kind: simulator.LoseRequest}, code: "unknown/answer_lost", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"stored, answer never came": {fault: simulator.Fault{Kind: simulator.LoseAnswer}, code: "unknown/answer_lost", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"stored, half an answer":    {fault: simulator.Fault{Kind: simulator.CutAnswer, Bytes: 40}, code: "unknown/answer_unreadable", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"no answer in time":         {fault: simulator.Fault{Kind: simulator.Delay, Delay: long, When: "after"}, code: "unknown/answer_lost", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
		"half a request":            {wire: func(p *testenv.FaultProxy) { p.Next(testenv.Rule{Up: testenv.Fault{After: 2500, Then: testenv.Reset}}) }, code: "unknown/answer_lost", first: states{submit.Unconfirmed: 1}, last: states{submit.Submitted: 1}, stored: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t).accept(items)
			if tc.fault.Kind != "" {
				if tc.fault.Times == 0 {
					tc.fault.Times = 1
				}
				b.inject(tc.fault)
			}
			if tc.wire != nil {
				tc.wire(b.proxy)
			}
			b.work()
			if got := b.codes(); got != tc.code {
				t.Errorf("got %s, want %s", got, tc.code)
			}
			b.wantStates(tc.first)
			b.wantWhole()
			if tc.first[submit.Unconfirmed] > 0 {
				b.accept(1).work() // a control: it must be visible before an absence proves anything
				items := items + 1
				tc.last[submit.Submitted]++
				if tc.stored < 0 {
					tc.stored = items
				}
			}
			if tc.stored < 0 {
				tc.stored = items
			}
			// A lane that paused for its defect tries again by itself after five minutes.
			if paused := b.count(`SELECT count(*) FROM event_runtime.lanes WHERE paused_until IS NOT NULL`); paused > 0 && tc.last[submit.Sealed] > 0 {
				b.clock.forward(4 * time.Minute)
				b.work().wantStates(tc.last)
				b.clock.forward(2 * time.Minute)
				b.work().wantStates(states{submit.Submitted: 1})
				b.wantEachReportedOnce(items)
				return
			}
			b.settle().wantStates(tc.last)
			b.wantEachReportedOnce(tc.stored)
		})
	}
}

func TestARefusedItemThatCannotBeSplitGoesBeforeAPerson(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(1).inject(simulator.Fault{Kind: simulator.Status, Code: 413, Times: 1})
	b.work().wantStates(states{submit.Rejected: 1})
	if n := b.count(`SELECT count(*) FROM event_runtime.quarantine WHERE stage = 'submit' AND reason = 'too_large' AND event_id = $1`, b.events[0]); n != 1 {
		t.Fatalf("got %d rows of quarantine, want 1", n)
	}
	b.settle().wantEachReportedOnce(0)
}

func TestDiscardedItemsGoBeforeAPersonWithTheirClass(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(3).inject(simulator.Fault{Kind: simulator.DiscardItem, Item: 2, Message: "Unlisted endpoint: /open-banking/x", Times: 1})
	b.work().wantStates(states{submit.PartiallyAccepted: 1})
	if n := b.count(`SELECT count(*) FROM event_runtime.quarantine WHERE reason = 'discarded_catalogue' AND event_id = $1`, b.events[2]); n != 1 {
		t.Fatalf("got %d rows of quarantine, want 1", n)
	}
	b.wantEachReportedOnce(2)
}

func TestWhatIsMendedIsRequeued(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(4).inject(simulator.Fault{Kind: simulator.Status, Code: 400, Times: 1})
	b.work().wantStates(states{submit.Rejected: 1})
	var id event.ID
	if err := b.pool.QueryRow(t.Context(), `SELECT batch_id FROM event_runtime.export_batches`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.desk.Requeue(t.Context(), id, "operator:test"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.desk.Requeue(t.Context(), id, "operator:test"); err == nil {
		t.Fatal("the same batch is requeued twice")
	}
	b.clock.forward(6 * time.Minute)
	b.work().wantStates(states{submit.Rejected: 1, submit.Submitted: 1})
	b.wantEachReportedOnce(4)
	if n := b.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'batch.requeued' AND subject = $1`, id.String()); n != 1 {
		t.Fatalf("got %d ledger entries, want 1", n)
	}
}

// The lookup shows reports of both parties. One of the counterparty's from before
// our attempt proves nothing stored; one created within it cannot be told apart.
func TestTheCounterpartysReportIsNotOurs(t *testing.T) {
	t.Parallel()
	t.Run("theirs came long before, ours never arrived", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, func(c *simulator.Config) {
			c.Counterparty = simulator.Counterparty{Mode: simulator.Equal, EvenIfLost: true}
		}).accept(2)
		b.inject(simulator.Fault{Kind: simulator.LoseRequest, Times: 1}).work()
		b.wantStates(states{submit.Unconfirmed: 1})
		b.accept(1).settle()
		// Created within our attempt: presumed, kept apart from evidence.
		if n := b.count(`SELECT count(*) FROM event_runtime.submission_receipts WHERE side = 'unknown' AND paired_id IS NULL`); n != 2 {
			t.Fatalf("got %d presumed receipts, want 2", n)
		}
		b.wantWhole()
	})
	t.Run("older versions of the platform show the role", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, func(c *simulator.Config) { c.LegacyLookup = true }).accept(2)
		b.inject(simulator.Fault{Kind: simulator.LoseAnswer, Times: 1}).work().settle()
		b.wantStates(states{submit.Submitted: 1})
		if n := b.count(`SELECT count(*) FROM event_runtime.submission_receipts WHERE side = 'ours' AND source = 'lookup'`); n != 2 {
			t.Fatalf("got %d receipts of ours, want 2", n)
		}
		b.wantEachReportedOnce(2)
	})
}

func TestAbsenceIsNotProvenWithoutAControl(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(3).inject(simulator.Fault{Kind: simulator.LoseRequest, Times: 1})
	b.work().settle().wantStates(states{submit.Unconfirmed: 1}) // nothing else is sent: nothing must be visible
	b.accept(1).settle().wantStates(states{submit.Submitted: 2})
	b.wantEachReportedOnce(4)
	if n := b.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'batch.proven_absent'`); n != 1 {
		t.Fatalf("got %d ledger entries, want 1", n)
	}
}

// Some items of a lost request may be there and others not. Only those that are
// proven absent are sent again, in a batch of their own.
func TestOnlyWhatIsProvenAbsentIsSentAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(4).inject(
		simulator.Fault{Kind: simulator.LoseAnswer, Times: 1},
		simulator.Fault{Operation: simulator.OnLookup, Kind: simulator.Hide, Skip: 5, Times: 1}) // rounds of 2, 2 and 4 items: the second item of the last, asked about for the first time
	b.work()
	b.accept(1).settle()
	b.wantWhole()
	if n := b.count(`SELECT count(*) FROM event_runtime.export_batches WHERE reason = 'proven_absent' AND items = 1`); n != 1 {
		t.Fatalf("got %d batches of the one absent item, want 1", n)
	}
}

func TestALaneThatKeepsFailingPauses(t *testing.T) {
	t.Parallel()
	b := newBench(t).inject(simulator.Fault{Kind: simulator.Status, Code: 500})
	for range 3 {
		b.accept(60).work()
		b.clock.forward(time.Second)
	}
	b.wantStates(states{submit.Unconfirmed: 3})
	b.accept(200).work().wantStates(states{submit.Unconfirmed: 3})
	if !b.lane().Blocked {
		t.Fatal("the lane is open after three failures")
	}
	b.regulator.Heal("")
	b.clock.forward(5 * time.Minute)
	b.work()
	if n := b.count(`SELECT items FROM event_runtime.export_batches WHERE state = 'submitted' ORDER BY sealed_at LIMIT 1`); n != 50 {
		t.Fatalf("the first batch after the pause has %d items, want 50", n)
	}
	b.settle().wantEachReportedOnce(380)
}

// What comes too late to begin with is never written: the process was stopped
// between the marker and the first byte.
// Events of a day that had been closed go into a batch of their own.
func TestCorrectionsAreSealedApart(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(3)
	b.db.Exec(`UPDATE event_runtime.lane_chunks SET correction = true, deadline = deadline - interval '2 days'`)
	b.accept(2).settle().wantStates(map[submit.State]int{submit.Submitted: 2})
	for reason, want := range map[string]int{"correction": 3, "age": 2} {
		if n := b.count(`SELECT coalesce(sum(items), 0) FROM event_runtime.export_batches WHERE reason = $1`, reason); n != want {
			t.Errorf("%s: got %d items, want %d", reason, n, want)
		}
	}
	b.wantEachReportedOnce(5)
	b.wantWhole()
}

func TestAnEventThatIsNotVisibleYetWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t).accept(2)
	ghost := event.NewID(b.clock.now())
	b.db.Exec(`UPDATE event_runtime.lane_chunks SET event_ids = event_ids || $1::uuid, items = items + 1, oldest = $2`, ghost, b.clock.now())
	b.clock.forward(time.Second)
	b.work().wantStates(states{submit.Submitted: 1})
	if n := b.count(`SELECT sum(items)::int FROM event_runtime.lane_chunks`); n != 1 {
		t.Fatalf("got %d items waiting, want the one that is not visible", n)
	}
	b.clock.forward(time.Minute)
	b.work()
	if n := b.count(`SELECT count(*) FROM event_runtime.quarantine WHERE reason = 'event_missing' AND event_id = $1`, ghost); n != 1 {
		t.Fatalf("got %d rows of quarantine, want 1", n)
	}
}
