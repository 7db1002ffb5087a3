package submit

import "time"

// Verdict is what the answers about one item prove.
type Verdict string

// Verdicts.
const (
	Stored    Verdict = "stored"    // ours is there
	Presumed  Verdict = "presumed"  // a report is there that can only be told from the counterparty's by its time
	NotStored Verdict = "absent"    // ours is not there
	Undecided Verdict = "undecided" // the answers will not tell by themselves: ask daily, then a person
	AskMore   Verdict = "ask_more"  // nothing proven yet
)

// Control is what was found of a report of ours that was accepted after the
// attempt began. It shows that the regulator's lookup has caught up.
type Control struct {
	Visible bool
	Settled bool // past ACCEPTED
}

// Case is everything known when an item is judged.
type Case struct {
	Answers []Found // of every probe so far, oldest first
	Last    bool    // the last probe of the schedule was made
	Control Control // asked with the last probe
	// The attempt: no report of ours can have been created outside of it.
	First time.Time // the first attempt of the batch began
	From  time.Time // this attempt began
	To    time.Time // and ended, at the latest
}

// Conclude says what is proven about one item. The lookup shows reports of both
// parties, and says whose only sometimes.
func Conclude(c Case) Verdict {
	if len(c.Answers) == 0 {
		return AskMore
	}
	newest := c.Answers[len(c.Answers)-1]
	if newest.Kind == Nothing {
		return AskMore
	}
	if newest.Kind == Absent {
		return c.absent()
	}
	switch {
	case newest.Ours && !newest.Discarded, newest.Paired:
		return Stored
	case newest.Discarded:
		return Undecided
	case !newest.CreatedAt.Before(c.From) && !newest.CreatedAt.After(c.To):
		return Presumed
	case newest.CreatedAt.Before(c.First) && c.Last && c.Control.Visible && c.Control.Settled:
		return NotStored // the counterparty's, alone
	case !c.Last || newest.CreatedAt.Before(c.First):
		return AskMore
	default:
		return Undecided
	}
}

// absent proves something only when every probe says so, to the end, and the
// lookup is known to be up to date.
func (c Case) absent() Verdict {
	for _, a := range c.Answers {
		if a.Kind == Hit {
			return Undecided // it was there before
		}
	}
	if c.Last && c.Control.Visible {
		return NotStored
	}
	return AskMore
}

// Ruling is what the verdicts on all items mean for their batch.
type Ruling struct {
	To       State // Submitted, Sealed, or Unconfirmed when nothing moves
	Resubmit []int // positions that are proven absent beside others that are stored
	Person   bool
	Again    time.Duration // ask again after this; 0: not
}

// Rule decides about a batch. probe counts from 1; slack is the time left to
// the deadline, final the time left until the regulator refuses these items for
// their age.
func Rule(verdicts []Verdict, probe int, controlled bool, slack, final time.Duration, t Timing) Ruling {
	count := map[Verdict]int{}
	var absent []int
	for i, v := range verdicts {
		count[v]++
		if v == NotStored {
			absent = append(absent, i)
		}
	}
	settled := count[Stored] + count[Presumed]
	switch {
	case settled == len(verdicts):
		r := Ruling{To: Submitted}
		if count[Presumed] > 0 {
			r.Again = t.AskAgain // until paired
		}
		return r
	case len(absent) == len(verdicts):
		return Ruling{To: Sealed}
	case settled+len(absent) == len(verdicts):
		r := Ruling{To: Submitted, Resubmit: absent}
		if count[Presumed] > 0 {
			r.Again = t.AskAgain
		}
		return r
	}
	r := Ruling{To: Unconfirmed, Again: t.nextProbe(probe)}
	if count[AskMore] == 0 {
		r.Again = t.AskAgain
	}
	r.Person = final <= 0 || count[AskMore] > 0 && probe >= len(t.Probes) && !controlled && slack < t.PersonSlack
	return r
}

// nextProbe is how long after probe the next one follows. Beyond the schedule
// the last gap repeats.
func (t Timing) nextProbe(probe int) time.Duration {
	n := len(t.Probes)
	switch {
	case probe < n:
		return t.Probes[probe] - t.Probes[max(probe-1, 0)]
	case n > 1:
		return t.Probes[n-1] - t.Probes[n-2]
	default:
		return t.Probes[0]
	}
}

// firstProbe is when asking about an attempt begins: not before whoever posted
// it must have given up.
func (t Timing) firstProbe(posted time.Time) time.Time {
	first, earliest := posted.Add(t.Probes[0]), posted.Add(t.PostWithin+t.GiveUpAfter)
	if first.Before(earliest) {
		return earliest
	}
	return first
}

// sample picks the items of an early probe: evenly spread over the batch.
func sample(open []int, most int) []int {
	if len(open) <= most {
		return open
	}
	picked := make([]int, most)
	for i := range picked {
		picked[i] = open[i*len(open)/most]
	}
	return picked
}
