package flush

import (
	"slices"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/tenant"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestDueNamesItsReason(t *testing.T) {
	t.Parallel()
	near := Policy{Mode: tenant.NearRealTime, MaxItems: 10, MaxBytes: 1000, MaxAge: time.Minute, DeadlineLead: time.Hour}
	windows := Policy{Mode: tenant.Scheduled, MaxItems: 10, MaxBytes: 1000, Windows: []time.Duration{6 * time.Hour, 18 * time.Hour}, DeadlineLead: time.Hour}
	level := Level{Items: 1, Bytes: 10, Oldest: epoch, Deadline: epoch.Add(20 * time.Hour)}
	with := func(l Level, change func(*Level)) Level { change(&l); return l }
	for name, tc := range map[string]struct {
		policy Policy
		level  Level
		now    time.Time
		reason Reason
		sleep  time.Duration
	}{
		"nothing waits":                     {near, Level{}, epoch, Wait, time.Minute},
		"fresh":                             {near, level, epoch.Add(10 * time.Second), Wait, 50 * time.Second},
		"old":                               {near, level, epoch.Add(time.Minute), ByAge, 0},
		"many":                              {near, with(level, func(l *Level) { l.Items = 10 }), epoch, ByCount, 0},
		"large":                             {near, with(level, func(l *Level) { l.Bytes = 1000 }), epoch, BySize, 0},
		"close to the deadline":             {near, with(level, func(l *Level) { l.Deadline = epoch.Add(time.Hour) }), epoch, ByDeadline, 0},
		"past the deadline":                 {near, with(level, func(l *Level) { l.Deadline = epoch.Add(-time.Hour) }), epoch, ByDeadline, 0},
		"soon close to the deadline":        {near, with(level, func(l *Level) { l.Deadline = epoch.Add(time.Hour + 5*time.Second) }), epoch, Wait, 5 * time.Second},
		"held although late":                {Policy{Held: true, MaxItems: 1}, level, epoch.Add(30 * time.Hour), Held, time.Minute},
		"draining":                          {Policy{Drain: true, MaxItems: 10, MaxBytes: 1000, MaxAge: time.Hour}, level, epoch, ByDrain, 0},
		"before the window":                 {windows, level, epoch.Add(5*time.Hour + 59*time.Minute + 30*time.Second), Wait, 30 * time.Second},
		"the window opens":                  {windows, level, epoch.Add(6 * time.Hour), ByWindow, 0},
		"the worker slept over the window":  {windows, level, epoch.Add(7 * time.Hour), ByWindow, 0},
		"came just after a window":          {windows, with(level, func(l *Level) { l.Oldest = epoch.Add(6*time.Hour + time.Second) }), epoch.Add(7 * time.Hour), Wait, time.Minute},
		"the next window is tomorrow's":     {windows, with(level, func(l *Level) { l.Oldest = epoch.Add(7 * time.Hour); l.Deadline = epoch.Add(48 * time.Hour) }), epoch.Add(18 * time.Hour), ByWindow, 0},
		"a window does not beat a deadline": {windows, with(level, func(l *Level) { l.Deadline = epoch.Add(90 * time.Minute) }), epoch.Add(30 * time.Minute), ByDeadline, 0},
		"no configuration waits for ever":   {Policy{Mode: tenant.Scheduled, MaxItems: 10, MaxBytes: 1000}, level, epoch, ByWindow, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason, sleep := tc.policy.Due(tc.level, tc.now)
			if reason != tc.reason || sleep != tc.sleep {
				t.Fatalf("got %s after %v, want %s after %v", reason, sleep, tc.reason, tc.sleep)
			}
		})
	}
}

// Sleeping as long as Due says, again and again, is enough: the lane becomes due,
// never later than its age, its window and its deadline allow, and no earlier
// than one of them asks for.
func TestSleepingAsLongAsDueSaysIsEnough(t *testing.T) {
	t.Parallel()
	age := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(1, int64(72*time.Hour)).Draw(t, "age"))
	})
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			Mode: rapid.SampledFrom([]tenant.Mode{tenant.NearRealTime, tenant.Scheduled}).Draw(t, "mode"), MaxItems: 100, MaxBytes: 1 << 20,
			MaxAge: age.Draw(t, "max age"), DeadlineLead: age.Draw(t, "lead"),
		}
		for range rapid.IntRange(1, 4).Draw(t, "windows") {
			p.Windows = append(p.Windows, time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "minute"))*time.Minute)
		}
		slices.Sort(p.Windows)
		l := Level{Items: 1, Bytes: 1, Oldest: epoch.Add(age.Draw(t, "came")), Deadline: epoch.Add(age.Draw(t, "deadline"))}
		start := l.Oldest.Add(age.Draw(t, "asked"))
		now, limit := start, start
		if byTime, _ := p.byTime(l, now); byTime > 0 {
			limit = now.Add(min(byTime, max(0, l.Slack(now)-p.DeadlineLead)))
		}
		for range 100_000 {
			why, sleep := p.Due(l, now)
			if why.Due() {
				if now.After(limit) {
					t.Fatalf("due %v too late", now.Sub(limit))
				}
				return
			}
			if sleep <= 0 {
				t.Fatalf("told to wait for %v", sleep)
			}
			now = now.Add(sleep)
		}
		t.Fatal("never due")
	})
}
