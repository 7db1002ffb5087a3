package sweep

import (
	"cmp"
	"slices"
	"time"
)

// slotQuiet is how long a slot may be without a reader until what it has not
// passed is no longer expected of it.
const slotQuiet = 2 * time.Minute

// Sample is where the log and the transactions were at a time.
type Sample struct {
	At        time.Time
	LSN       uint64 // everything that was committed before At is before it
	NextXID   uint64 // every transaction that wrote before At is before it
	OldestXID uint64 // every transaction before it had ended
	Active    bool   // somebody was reading the slot
}

// Slot is what the relay reads from.
type Slot struct {
	Exists    bool
	Confirmed uint64 // everything before it is in JetStream
}

// Floor is the oldest message that a durable consumer has yet to settle.
type Floor struct {
	Pending bool      // there is one
	Since   time.Time // when its event was made, or stored if that is earlier
}

// Limits are the times behind which a missing row is owed, one for each place
// where its event may still be.
type Limits struct {
	Young   time.Time // with its producer, or on the way at this moment
	Waiting time.Time // in the stream, before the consumer
	Relay   time.Time // in the log, before the relay
	Settled time.Time // in a transaction that is still open: not for a row that is seen, but for those to come
}

// LimitsAt draws the limits. Samples ascend in time; the last one is of now.
func LimitsAt(now time.Time, grace time.Duration, samples []Sample, slot Slot, floor Floor) Limits {
	l := Limits{Young: now.Add(-grace), Waiting: now, Relay: now}
	if len(samples) > 0 {
		l.Settled = settled(samples, samples[len(samples)-1].OldestXID)
	}
	if floor.Pending {
		l.Waiting = before(samples, func(s Sample) bool { return !s.At.After(floor.Since) })
	}
	if slot.Exists && !quiet(samples, now) {
		l.Relay = before(samples, func(s Sample) bool { return s.LSN <= slot.Confirmed })
	}
	return l
}

// settled is the newest time before which no transaction began to write that is
// at oldest or later; the zero time when that is not known.
func settled(samples []Sample, oldest uint64) time.Time {
	for _, s := range slices.Backward(samples) {
		if s.NextXID <= oldest {
			return s.At
		}
	}
	return time.Time{}
}

// before is the time before which every row had been committed at the newest
// sample that is reached. Messages come in the order of commits, and so does the
// log: what had been committed then is further on than what is there now. A row
// is older than its commit, by as much as its transaction was open.
func before(samples []Sample, reached func(Sample) bool) time.Time {
	for i, s := range slices.Backward(samples) {
		if reached(s) {
			return settled(samples[:i+1], s.OldestXID)
		}
	}
	return time.Time{}
}

// quiet reports a slot that nobody has been seen to read for slotQuiet. What is
// not known because we have not looked for that long is not quiet.
func quiet(samples []Sample, now time.Time) bool {
	for _, s := range slices.Backward(samples) {
		switch {
		case s.Active:
			return now.Sub(s.At) >= slotQuiet
		case now.Sub(s.At) >= slotQuiet:
			return true
		}
	}
	return false
}

// Until is the time up to which rows are looked for: a later one is not owed yet.
func (l Limits) Until() time.Time { return earliest(l.Young, l.Waiting, l.Relay) }

// Mark is how far everything has been seen once rows up to Until have been looked
// for: a transaction that is open may still add rows behind it.
func (l Limits) Mark() time.Time { return earliest(l.Until(), l.Settled) }

func earliest(times ...time.Time) time.Time {
	return slices.MinFunc(times, time.Time.Compare)
}

// Missing is an event without a row at a consumer that owes one.
type Missing struct {
	Key
	RecordedAt  time.Time
	PublishedAt time.Time // by the sweeper, last; zero: never
}

// Verdict says whether a missing row is owed, and if not, where its event is.
type Verdict string

// Verdicts.
const (
	Owed    Verdict = "owed"    // it is nowhere: publish it
	Lately  Verdict = "lately"  // it is owed, and was published a moment ago
	Young   Verdict = "young"   // it may be on its way
	Waiting Verdict = "waiting" // it may be in the stream
	Relayed Verdict = "relayed" // it may be before the relay
)

// Gap reports a verdict that says: the row should be there.
func (v Verdict) Gap() bool { return v == Owed || v == Lately }

// Judge decides about one missing row. It reads no clock and holds no state.
func (l Limits) Judge(m Missing, now time.Time, again time.Duration) Verdict {
	// A message of ours came into the stream when we published it, whatever the
	// age of its event and of the log.
	arrived := cmp.Or(m.PublishedAt, m.RecordedAt)
	switch {
	case !m.RecordedAt.Before(l.Young):
		return Young
	case !arrived.Before(l.Waiting):
		return Waiting
	case m.PublishedAt.IsZero() && !m.RecordedAt.Before(l.Relay):
		return Relayed
	case !m.PublishedAt.IsZero() && now.Sub(m.PublishedAt) < again:
		return Lately
	default:
		return Owed
	}
}

// window is a span of event ids by their time, within one day: [from, to).
type window struct{ from, to time.Time }

const (
	day        = 24 * time.Hour
	windowSpan = time.Hour // what is read before progress is kept
)

// windows cuts a span of time at the ends of days, and where it is long.
func windows(from, to time.Time) (all []window) {
	for from.Before(to) {
		end := earliest(to, from.Add(windowSpan), from.Truncate(day).Add(day))
		all = append(all, window{from, end})
		from = end
	}
	return all
}
