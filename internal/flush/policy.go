// Package flush decides when a lane has grown or waited enough to be sent.
//
// Promise: no event waits longer than its policy allows for its batch to be
//
//	due, and none is still waiting when its deadline is closer than the
//	policy's lead.
//
// State:   none; what waits lives in Postgres, and a crash loses nothing here.
// Failure: Due cannot fail. What to do when sending fails is submit's business.
package flush

import (
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/tenant"
)

// Reason says why a lane is due, or why it is not.
type Reason string

// Reasons. The By... are due.
const (
	Wait       Reason = "wait"
	Held       Reason = "held" // paused, or a dry run: kept until somebody lets go
	ByCount    Reason = "count"
	BySize     Reason = "size"
	ByAge      Reason = "age"
	ByWindow   Reason = "window"
	ByDeadline Reason = "deadline"
	ByDrain    Reason = "drain"
	Correction Reason = "correction" // for events of a day that had been closed, whatever made them due
)

// Due reports whether r asks for a batch now.
func (r Reason) Due() bool { return r != Wait && r != Held }

// Policy is how one lane flushes.
type Policy struct {
	Mode         tenant.Mode
	MaxItems     int
	MaxBytes     int64
	MaxAge       time.Duration   // near real time: the oldest waits no longer
	Windows      []time.Duration // scheduled: since midnight UTC, sorted
	DeadlineLead time.Duration   // flush when the earliest deadline is this close
	Held         bool
	Drain        bool // everything that waits is due
}

// FromConfig reads a tenant's configuration. The database checks ranges; the
// windows' form is checked here.
func FromConfig(c tenant.Config) (Policy, error) {
	p := Policy{Mode: c.Mode, MaxItems: c.MaxItems, MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge, DeadlineLead: c.DeadlineLead, Held: c.Paused || c.DryRun}
	for _, w := range c.Windows {
		at, err := time.Parse("15:04", w)
		if err != nil {
			return Policy{}, fmt.Errorf("windows: %q is not HH:MM", w)
		}
		p.Windows = append(p.Windows, time.Duration(at.Hour())*time.Hour+time.Duration(at.Minute())*time.Minute)
	}
	return p, nil
}

// Level is what waits in a lane.
type Level struct {
	Items    int
	Bytes    int64
	Oldest   time.Time // when the one that waits longest came
	Deadline time.Time // the earliest of theirs
}

// Slack is how long l can still wait before it is late. The lane with the
// least goes first.
func (l Level) Slack(now time.Time) time.Duration { return l.Deadline.Sub(now) }

// Due reports why l should be sent at now; or Wait, and how long to sleep
// before asking again. It reads no clock and holds no state. Held lanes sleep
// until their policy changes: the duration is the longest anybody should sleep.
func (p Policy) Due(l Level, now time.Time) (Reason, time.Duration) {
	byDeadline := l.Slack(now) - p.DeadlineLead
	byAge, reason := p.byTime(l, now)
	switch {
	case l.Items == 0:
		return Wait, longest
	case p.Held:
		return Held, longest
	case p.Drain:
		return ByDrain, 0
	case l.Items >= p.MaxItems:
		return ByCount, 0
	case l.Bytes >= p.MaxBytes:
		return BySize, 0
	case byDeadline <= 0:
		return ByDeadline, 0
	case byAge <= 0:
		return reason, 0
	default:
		return Wait, min(byAge, byDeadline, longest)
	}
}

const longest = time.Minute

// byTime is how long until time alone makes l due.
func (p Policy) byTime(l Level, now time.Time) (time.Duration, Reason) {
	if p.Mode != tenant.Scheduled {
		return p.MaxAge - now.Sub(l.Oldest), ByAge
	}
	return p.nextWindow(l.Oldest).Sub(now), ByWindow
}

// nextWindow is the first window that opens after at. A lane whose oldest event
// came before a window that has opened since is due; what came after waits for
// the next.
func (p Policy) nextWindow(at time.Time) time.Time {
	day := at.UTC().Truncate(24 * time.Hour)
	for _, w := range p.Windows {
		if opens := day.Add(w); opens.After(at) {
			return opens
		}
	}
	if len(p.Windows) == 0 {
		return at
	}
	return day.Add(24*time.Hour + p.Windows[0])
}
