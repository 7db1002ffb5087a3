package submit

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/evidence"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testTiming() Timing {
	return Timing{PostWithin: 10 * time.Second, Exchange: 30 * time.Second, GiveUpAfter: 45 * time.Second, RetryBase: time.Second, RetryMost: time.Minute,
		WaitMost: 15 * time.Minute, BreakerPause: 5 * time.Minute, Probes: []time.Duration{2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute},
		AskAgain: 24 * time.Hour, PersonSlack: 4 * time.Hour, Skew: 2 * time.Second, Sample: 50, AskRate: 20, PerLane: 50, Failures: 3, RecordFor: time.Second}
}

func receiptsOf(accepted ...bool) []evidence.Receipt {
	all := make([]evidence.Receipt, len(accepted))
	for i, yes := range accepted {
		all[i].Accepted = yes
	}
	return all
}

// Each row of the outcome table in docs/outcomes.md.
func TestOutcomeTable(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		standing Standing
		outcome  Outcome
		want     Step
	}{
		"no token":                              {Standing{Attempt: 1, Items: 9}, Outcome{Kind: NeverSent, Code: TokenFailed}, Step{To: Sealed, Wait: time.Second, Effect: Keep}},
		"no connection, fifth time":             {Standing{Attempt: 5, Items: 9}, Outcome{Kind: NeverSent, Code: ConnectFailed}, Step{To: Sealed, Wait: 16 * time.Second, Effect: Keep}},
		"no connection for an hour":             {Standing{Attempt: 500, Items: 9}, Outcome{Kind: NeverSent, Code: ConnectFailed}, Step{To: Sealed, Wait: time.Minute, Effect: Keep}},
		"too late to begin":                     {Standing{Attempt: 1, Items: 9}, Outcome{Kind: NeverSent, Code: TooLate}, Step{To: Sealed, Wait: time.Second, Effect: Keep}},
		"all accepted":                          {Standing{Attempt: 1, Items: 2}, Outcome{Kind: Answered, Code: Receipts, Receipts: receiptsOf(true, true)}, Step{To: Submitted, Effect: Heal}},
		"some discarded":                        {Standing{Attempt: 1, Items: 2}, Outcome{Kind: Answered, Code: Receipts, Receipts: receiptsOf(true, false)}, Step{To: PartiallyAccepted, Effect: Heal}},
		"all discarded":                         {Standing{Attempt: 1, Items: 2}, Outcome{Kind: Answered, Code: Receipts, Receipts: receiptsOf(false, false)}, Step{To: Rejected, Effect: Heal}},
		"400 of its own":                        {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: BadRequest}, Step{To: Rejected, Effect: Pause}},
		"406 of its own":                        {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: NotAccepted}, Step{To: Rejected, Effect: Pause}},
		"415 of its own":                        {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: WrongMedia}, Step{To: Rejected, Effect: Pause}},
		"401, once with a fresh token":          {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: Unauthorized}, Step{To: Sealed, Effect: Keep}},
		"401 again":                             {Standing{Attempt: 2, LastCode: Unauthorized, Items: 9}, Outcome{Kind: Refused, Code: Unauthorized}, Step{To: Sealed, Effect: Pause}},
		"403":                                   {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: Forbidden}, Step{To: Sealed, Effect: Pause}},
		"413 of many":                           {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: TooLarge}, Step{To: Rejected, Split: true, Effect: Keep}},
		"413 of one":                            {Standing{Attempt: 1, Items: 1}, Outcome{Kind: Refused, Code: TooLarge}, Step{To: Rejected, Quarantine: true, Effect: Keep}},
		"429 with a wait":                       {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: RateLimited, After: 7 * time.Second}, Step{To: Sealed, Wait: 7 * time.Second, Effect: Keep}},
		"429 with a day to wait":                {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Refused, Code: RateLimited, After: 24 * time.Hour}, Step{To: Sealed, Wait: 15 * time.Minute, Effect: Keep}},
		"429 without":                           {Standing{Attempt: 3, Items: 9}, Outcome{Kind: Refused, Code: RateLimited}, Step{To: Sealed, Wait: 4 * time.Second, Effect: Keep}},
		"answer lost":                           {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{Kind: Unknown, Code: AnswerLost}, Step{To: Unconfirmed, Effect: Count}},
		"answer lost where nobody can be asked": {Standing{Attempt: 1, Items: 9}, Outcome{Kind: Unknown, Code: AnswerLost}, Step{To: Unconfirmed, Effect: Count, Person: true}},
		"receipts that do not fit":              {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{Kind: Unknown, Code: AnswerMismatch}, Step{To: Unconfirmed, Effect: Count}},
		"a firewall's page":                     {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{Kind: Unknown, Code: ForeignAnswer}, Step{To: Unconfirmed, Effect: Count}},
		"500":                                   {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{Kind: Unknown, Code: ServerError}, Step{To: Unconfirmed, Effect: Count}},
		"the process is gone":                   {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{Kind: Unknown, Code: OwnerLost}, Step{To: Unconfirmed, Effect: Count}},
		"an outcome nobody thought of is in doubt": {Standing{Attempt: 1, Items: 9, CanAsk: true}, Outcome{}, Step{To: Unconfirmed, Effect: Count}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Next(tc.standing, tc.outcome, testTiming()); got != tc.want {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// Whatever comes in: a batch goes back to be sent only if nothing of it can have
// been processed, and nothing is final without a reason.
func TestOnlyProvenAbsenceIsSentAgain(t *testing.T) {
	t.Parallel()
	kind := rapid.SampledFrom([]Kind{NeverSent, Refused, Answered, Unknown, "", "new"})
	code := rapid.SampledFrom([]Code{TokenFailed, ConnectFailed, TooLate, LocalFault, BadRequest, Unauthorized, Forbidden, NotAccepted, TooLarge, WrongMedia, RateLimited,
		Receipts, AnswerLost, AnswerUnreadable, AnswerMismatch, ForeignAnswer, UnexpectedStatus, ServerError, OwnerLost, "", "new"})
	rapid.Check(t, func(t *rapid.T) {
		s := Standing{Attempt: rapid.IntRange(1, 1000).Draw(t, "attempt"), LastCode: code.Draw(t, "last"), Items: rapid.IntRange(1, 5000).Draw(t, "items"), CanAsk: rapid.Bool().Draw(t, "can ask")}
		o := Outcome{Kind: kind.Draw(t, "kind"), Code: code.Draw(t, "code"), After: time.Duration(rapid.Int64Range(-1, int64(48*time.Hour)).Draw(t, "after"))}
		if o.Kind == Answered {
			o.Receipts = receiptsOf(rapid.SliceOfN(rapid.Bool(), s.Items, s.Items).Draw(t, "receipts")...)
		}
		timing := testTiming()
		step := Next(s, o, timing)
		switch step.To {
		case Sealed:
			if o.Kind != NeverSent && o.Kind != Refused {
				t.Fatalf("%+v is sent again", o)
			}
		case Submitted, PartiallyAccepted:
			if o.Kind != Answered {
				t.Fatalf("%+v counts as answered", o)
			}
		case Rejected:
			if o.Kind != Answered && o.Kind != Refused {
				t.Fatalf("%+v counts as refused", o)
			}
		case Unconfirmed:
			if step.Person == s.CanAsk {
				t.Fatalf("%+v: got person %v where asking is %v", o, step.Person, s.CanAsk)
			}
		default:
			t.Fatalf("%+v leads to %q", o, step.To)
		}
		if step.Wait < 0 || step.Wait > max(timing.WaitMost, timing.RetryMost) {
			t.Fatalf("waits for %v", step.Wait)
		}
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	timing, b := testTiming(), Breaker{}
	gate := func(at time.Duration) int { items, _ := b.Gate(epoch.Add(at), 1000, timing); return items }
	for range 2 {
		b = b.After(Count, ServerError, epoch, timing)
	}
	if got := gate(0); got != 1000 {
		t.Fatalf("after two failures: got %d items, want 1000", got)
	}
	b = b.After(Count, ServerError, epoch, timing)
	if got := gate(5*time.Minute - 1); got != 0 {
		t.Fatalf("during the pause: got %d items, want none", got)
	}
	if _, wait := b.Gate(epoch.Add(time.Minute), 1000, timing); wait != 4*time.Minute {
		t.Fatalf("got a wait of %v, want 4m", wait)
	}
	if got := gate(5 * time.Minute); got != 50 {
		t.Fatalf("half open: got %d items, want 50", got)
	}
	if items, _ := b.Gate(epoch.Add(5*time.Minute), 20, timing); items != 20 {
		t.Fatalf("half open with a small policy: got %d items, want 20", items)
	}
	again := b.After(Count, AnswerLost, epoch.Add(5*time.Minute), timing)
	if items, _ := again.Gate(epoch.Add(6*time.Minute), 1000, timing); items != 0 || again.Reason != "answer_lost" {
		t.Fatalf("half open failed: got %d items and reason %q, want a pause", items, again.Reason)
	}
	if kept := b.After(Keep, RateLimited, epoch, timing); kept != b {
		t.Fatalf("a wait asked for changes the breaker to %+v", kept)
	}
	if healed := b.After(Heal, Receipts, epoch, timing); healed != (Breaker{}) {
		t.Fatalf("got %+v after success", healed)
	}
	if paused := (Breaker{}).After(Pause, Forbidden, epoch, timing); !paused.PausedUntil.Equal(epoch.Add(5 * time.Minute)) {
		t.Fatalf("a defect pauses until %v", paused.PausedUntil)
	}
}

func TestTimingsThatCouldDoubleAreRefused(t *testing.T) {
	t.Parallel()
	if why := testTiming().Check(); why != "" {
		t.Fatalf("the defaults are refused: %s", why)
	}
	for name, change := range map[string]func(*Timing){
		"given up while it may still be answered": func(t *Timing) { t.GiveUpAfter = t.Exchange },
		"no probe":            func(t *Timing) { t.Probes = nil },
		"probes that go back": func(t *Timing) { t.Probes = []time.Duration{2, 1} },
		"no time to post":     func(t *Timing) { t.PostWithin = 0 },
		"a negative pause":    func(t *Timing) { t.BreakerPause = -1 },
		"retries that shrink": func(t *Timing) { t.RetryMost = t.RetryBase - 1 },
		"no questions":        func(t *Timing) { t.AskRate = 0 },
	} {
		timing := testTiming()
		change(&timing)
		if timing.Check() == "" {
			t.Errorf("%s: got no refusal", name)
		}
	}
}
