package submit

import (
	"time"

	"github.com/finnest/event-runtime/internal/evidence"
)

// State is where a batch stands.
//
//	sealed ──▶ [awaiting_approval ──▶] posting ──▶ submitted | partially_accepted | rejected
//	   ▲                                  │ no answer
//	   │ proven not stored                ▼
//	   └────────────────────── submit_unconfirmed ──▶ submitted | written_off
//
// sealed freezes the bytes every retry sends; posting is committed before the
// request leaves.
type State string

// The states.
const (
	Sealed            State = "sealed"
	AwaitingApproval  State = "awaiting_approval"
	Posting           State = "posting"
	Submitted         State = "submitted"
	PartiallyAccepted State = "partially_accepted"
	Rejected          State = "rejected"
	Unconfirmed       State = "submit_unconfirmed"
	WrittenOff        State = "written_off"
)

// Timing is how long things take. One set for production, one in seconds for a
// demonstration.
type Timing struct {
	PostWithin   time.Duration   `env:"POST_WITHIN, default=10s"`         // from the marker to the first byte
	Exchange     time.Duration   `env:"EXCHANGE_TIMEOUT, default=30s"`    // from the first byte to the last of the answer
	GiveUpAfter  time.Duration   `env:"UNCONFIRMED_AFTER, default=45s"`   // after post_by, without its owner
	RetryBase    time.Duration   `env:"RETRY_BASE, default=1s"`           // doubles with each attempt
	RetryMost    time.Duration   `env:"RETRY_MOST, default=1m"`           // and stays there
	WaitMost     time.Duration   `env:"RETRY_AFTER_MOST, default=15m"`    // however long Retry-After says
	BreakerPause time.Duration   `env:"BREAKER_PAUSE, default=5m"`        //
	Probes       []time.Duration `env:"ASK_AFTER, default=2m,5m,10m,20m"` // since the marker
	AskAgain     time.Duration   `env:"ASK_AGAIN, default=24h"`           // about what stays undecided
	PersonSlack  time.Duration   `env:"ASK_PERSON_SLACK, default=4h"`     // less time left than this, and no control: a person
	Skew         time.Duration   `env:"ASK_SKEW, default=2s"`             // between the regulator's clock and ours, beyond what Date shows
	Sample       int             `env:"ASK_SAMPLE, default=50"`           // items of an early probe
	AskRate      int             `env:"ASK_RATE, default=20"`             // questions a second
	PerLane      int             `env:"HALF_OPEN_ITEMS, default=50"`      // items of the first batch after a pause
	Failures     int             `env:"BREAKER_FAILURES, default=3"`      // consecutive, until a lane pauses
	RecordFor    time.Duration   `env:"RECORD_RETRY_FOR, default=20s"`    // then an answer is spooled
}

// Check refuses timings under which a request could still be on its way when
// its batch is given up, or asked about before it was given up.
func (t Timing) Check() string {
	switch {
	case t.PostWithin <= 0 || t.Exchange <= 0 || t.RetryBase <= 0 || t.RetryMost < t.RetryBase || t.BreakerPause <= 0 || t.AskAgain <= 0:
		return "durations must be positive, and RETRY_MOST at least RETRY_BASE"
	case t.GiveUpAfter <= t.Exchange:
		return "UNCONFIRMED_AFTER must be longer than EXCHANGE_TIMEOUT: a request could still be answered"
	case len(t.Probes) == 0:
		return "ASK_AFTER needs at least one time"
	case t.Sample < 1 || t.AskRate < 1 || t.PerLane < 1 || t.Failures < 1:
		return "ASK_SAMPLE, ASK_RATE, HALF_OPEN_ITEMS and BREAKER_FAILURES must be at least 1"
	}
	for i := 1; i < len(t.Probes); i++ {
		if t.Probes[i] <= t.Probes[i-1] {
			return "ASK_AFTER must ascend"
		}
	}
	return ""
}

// Standing is what is known about a batch when an outcome comes in.
type Standing struct {
	Attempt  int
	LastCode Code // of the attempt before
	Items    int
	CanAsk   bool
}

// Step is what an outcome means: the next state and what goes with it.
type Step struct {
	To         State
	Wait       time.Duration // before the lane sends again
	Effect     Effect        // on the lane's breaker
	Split      bool          // two halves are sealed anew
	Quarantine bool          // the one item cannot be sent
	Person     bool          // nobody can be asked
}

// Next is the outcome table (docs/outcomes.md). It reads no clock and holds no
// state.
func Next(s Standing, o Outcome, t Timing) Step {
	switch o.Kind {
	case NeverSent:
		return Step{To: Sealed, Wait: t.backoff(s.Attempt), Effect: Keep}
	case Answered:
		return Step{To: byReceipts(o.Receipts), Effect: Heal}
	case Refused:
		return refused(s, o, t)
	default:
		// Whatever it was, it may have been stored.
		return Step{To: Unconfirmed, Effect: Count, Person: !s.CanAsk}
	}
}

func refused(s Standing, o Outcome, t Timing) Step {
	switch o.Code {
	case Unauthorized:
		if s.LastCode != Unauthorized {
			return Step{To: Sealed, Effect: Keep} // once more, with a fresh token
		}
		return Step{To: Sealed, Effect: Pause}
	case Forbidden:
		return Step{To: Sealed, Effect: Pause}
	case RateLimited:
		wait := o.After
		if wait <= 0 {
			wait = t.backoff(s.Attempt)
		}
		return Step{To: Sealed, Wait: min(wait, t.WaitMost), Effect: Keep}
	case TooLarge:
		if s.Items > 1 {
			return Step{To: Rejected, Split: true, Effect: Keep}
		}
		return Step{To: Rejected, Quarantine: true, Effect: Keep}
	default: // 400, 406, 415: our defect; sending it again cannot help
		return Step{To: Rejected, Effect: Pause}
	}
}

func byReceipts(receipts []evidence.Receipt) State {
	accepted := 0
	for _, r := range receipts {
		if r.Accepted {
			accepted++
		}
	}
	switch accepted {
	case len(receipts):
		return Submitted
	case 0:
		return Rejected
	default:
		return PartiallyAccepted
	}
}

// backoff doubles with each attempt.
func (t Timing) backoff(attempt int) time.Duration {
	return min(t.RetryBase<<min(max(attempt-1, 0), 20), t.RetryMost)
}

// Effect is what an outcome does to its lane's breaker.
type Effect int

// Effects.
const (
	Keep  Effect = iota
	Heal         // it works
	Count        // one more failure in a row
	Pause        // nothing more until a pause has passed
)

// Breaker keeps a lane from turning batch after batch into doubt. Its zero value
// lets everything pass.
type Breaker struct {
	Failures    int
	PausedUntil time.Time
	Reason      string
}

// After is the breaker when an outcome had effect e.
func (b Breaker) After(e Effect, code Code, now time.Time, t Timing) Breaker {
	switch e {
	case Heal:
		return Breaker{}
	case Count:
		b.Failures++
	case Pause:
		b.Failures = max(b.Failures+1, t.Failures)
	default:
		return b
	}
	if b.Failures >= t.Failures {
		b.PausedUntil, b.Reason = now.Add(t.BreakerPause), string(code)
	}
	return b
}

// Gate says how many items may be sent now: most at the most, or none until wait
// has passed. After a pause one small batch goes first.
func (b Breaker) Gate(now time.Time, most int, t Timing) (items int, wait time.Duration) {
	switch {
	case now.Before(b.PausedUntil):
		return 0, b.PausedUntil.Sub(now)
	case b.Failures >= t.Failures:
		return min(most, t.PerLane), 0
	default:
		return most, 0
	}
}
