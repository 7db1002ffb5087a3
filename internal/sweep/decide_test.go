package sweep

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// steady is one sample a minute, from -10 to 0: a relay that reads, and no
// transaction that is open. The log is at 100 more each minute.
func steady(change ...func(minute int, s *Sample)) (all []Sample) {
	for m := -10; m <= 0; m++ {
		s := Sample{At: at(float64(m)), LSN: uint64(2000 + 100*m), NextXID: uint64(500 + 10*m), OldestXID: uint64(500 + 10*m), Active: true}
		for _, c := range change {
			c(m, &s)
		}
		all = append(all, s)
	}
	return all
}

func inactiveSince(minute int) func(int, *Sample) {
	return func(m int, s *Sample) { s.Active = m < minute }
}

// openSince is a transaction that began to write just after the sample of a
// minute and has not ended.
func openSince(minute int) func(int, *Sample) {
	return func(m int, s *Sample) {
		if m > minute {
			s.OldestXID = uint64(500 + 10*minute)
		}
	}
}

// openFor is one that ended after the sample of a minute.
func openFor(from, to int) func(int, *Sample) {
	return func(m int, s *Sample) {
		if m > from && m <= to {
			s.OldestXID = uint64(500 + 10*from)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	upToDate := Slot{Exists: true, Confirmed: 2000}
	for name, tc := range map[string]struct {
		samples []Sample
		slot    Slot
		floor   Floor
		want    Limits
	}{
		"everything flows":            {steady(), upToDate, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(0), Settled: at(0)}},
		"the consumer has a backlog":  {steady(), upToDate, Floor{true, at(-4.5)}, Limits{Young: at(-1), Waiting: at(-5), Relay: at(0), Settled: at(0)}},
		"since we remember":           {steady(), upToDate, Floor{true, at(-40)}, Limits{Young: at(-1), Relay: at(0), Settled: at(0)}},
		"a backlog, and one was open": {steady(openFor(-7, -4)), upToDate, Floor{true, at(-4.5)}, Limits{Young: at(-1), Waiting: at(-7), Relay: at(0), Settled: at(0)}},
		"the relay is behind":         {steady(), Slot{true, 1650}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(-4), Settled: at(0)}},
		"exactly at a sample":         {steady(), Slot{true, 1700}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(-3), Settled: at(0)}},
		"further than we remember":    {steady(), Slot{true, 999}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Settled: at(0)}},
		"the slot is gone":            {steady(), Slot{}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(0), Settled: at(0)}},
		"nobody reads it, for a time": {steady(inactiveSince(-1)), Slot{true, 1650}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(0), Settled: at(0)}},
		"nobody reads it, just now":   {steady(inactiveSince(0)), Slot{true, 1650}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(-4), Settled: at(0)}},
		"we have just begun to look":  {steady(inactiveSince(-20))[10:], Slot{true, 1650}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Settled: at(0)}},
		"a transaction is open":       {steady(openSince(-5)), upToDate, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(-5), Settled: at(-5)}},
		"open, and the relay behind":  {steady(openSince(-5)), Slot{true, 1350}, Floor{}, Limits{Young: at(-1), Waiting: at(0), Relay: at(-7), Settled: at(-5)}},
		"older than we remember":      {steady(openSince(-20)), upToDate, Floor{}, Limits{Young: at(-1), Waiting: at(0)}},
		"no samples at all":           {nil, upToDate, Floor{}, Limits{Young: at(-1), Waiting: at(0)}},
	} {
		if got := LimitsAt(noon, time.Minute, tc.samples, tc.slot, tc.floor); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	limits := Limits{Young: at(-1), Waiting: at(-5), Relay: at(-3), Settled: at(-1)}
	served := Limits{Young: at(-1), Waiting: at(0), Relay: at(-3), Settled: at(-1)}
	for name, tc := range map[string]struct {
		limits              Limits
		recorded, published time.Time
		want                Verdict
	}{
		"nowhere":                              {limits, at(-6), time.Time{}, Owed},
		"at the limit of the consumer":         {limits, at(-5), time.Time{}, Waiting},
		"in the stream":                        {limits, at(-4), time.Time{}, Waiting},
		"before the relay":                     {served, at(-2), time.Time{}, Relayed},
		"at the limit of the relay":            {served, at(-3), time.Time{}, Relayed},
		"a moment old":                         {served, at(-0.5), time.Time{}, Young},
		"at the limit of youth":                {served, at(-1), time.Time{}, Young},
		"our message waits in the stream":      {limits, at(-60), at(-4), Waiting},
		"our message was lost, a moment ago":   {served, at(-60), at(-4), Lately},
		"our message was lost":                 {served, at(-60), at(-10), Owed},
		"ours was lost, the relay is far back": {Limits{Young: at(-1), Waiting: at(0), Relay: at(-90)}, at(-60), at(-10), Owed},
	} {
		got := tc.limits.Judge(Missing{RecordedAt: tc.recorded, PublishedAt: tc.published}, noon, 10*time.Minute)
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
		if gap := tc.want == Owed || tc.want == Lately; got.Gap() != gap {
			t.Errorf("%s: got gap %v, want %v", name, got.Gap(), gap)
		}
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from, to time.Time
		want     []window
	}{
		"a minute":          {at(0), at(1), []window{{at(0), at(1)}}},
		"nothing":           {at(0), at(0), nil},
		"backwards":         {at(1), at(0), nil},
		"a long time":       {at(0), at(150), []window{{at(0), at(60)}, {at(60), at(120)}, {at(120), at(150)}}},
		"across midnight":   {at(690), at(750), []window{{at(690), at(720)}, {at(720), at(750)}}},
		"ends with the day": {at(690), at(720), []window{{at(690), at(720)}}},
	} {
		if got := windows(tc.from, tc.to); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// What waits on the way is not owed; what is nowhere is, within a bounded time; a
// row that is still to come is never behind the mark. Histories are drawn, and
// the database's numbers follow from them.
func TestNothingOnItsWayIsOwed(t *testing.T) {
	t.Parallel()
	minute := func(t *rapid.T, from, to int, name string) time.Time {
		return at(float64(rapid.IntRange(from*60, to*60).Draw(t, name)) / 60)
	}
	rapid.Check(t, func(t *rapid.T) {
		// A transaction wrote at began and committed at ended. The relay has passed what
		// committed before reached, the consumer what committed before served.
		began := minute(t, -30, 0, "began")
		ended := began.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "took")) * time.Second)
		reached, served := minute(t, -30, 0, "reached"), minute(t, -30, 0, "served")
		behind := rapid.Bool().Draw(t, "a consumer that is behind")
		position := func(at time.Time) uint64 { return uint64(at.Sub(noon.Add(-time.Hour))) }
		var samples []Sample
		for m := -50; m <= 0; m++ {
			s := Sample{At: at(float64(m)), LSN: position(at(float64(m))), NextXID: position(at(float64(m))), OldestXID: position(at(float64(m))), Active: true}
			if began.Before(s.At) && ended.After(s.At) {
				s.OldestXID = position(began) // it is open at this moment
			}
			samples = append(samples, s)
		}
		limits := LimitsAt(noon, time.Minute, samples, Slot{true, position(reached)}, Floor{behind, served})
		verdict := limits.Judge(Missing{RecordedAt: began}, noon, 10*time.Minute)
		until := reached // what committed later is on its way
		if behind {
			until = earliest(reached, served)
		}
		if verdict == Owed && !ended.Before(until) {
			t.Fatalf("got %s for a row that is on its way: %+v", verdict, limits)
		}
		// Limits are samples, and these are a minute apart.
		lost := ended.Before(earliest(until, noon).Add(-2 * time.Minute))
		if lost && verdict != Owed {
			t.Fatalf("got %s for a row that is nowhere: %+v", verdict, limits)
		}
		if ended.After(noon) && limits.Mark().After(began) {
			t.Fatalf("got mark %v, want none behind which a row of %v is still to come", limits.Mark(), began)
		}
	})
}
