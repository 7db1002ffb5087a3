package submit

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestConclude(t *testing.T) {
	t.Parallel()
	from, to, first := epoch, epoch.Add(40*time.Second), epoch.Add(-time.Hour)
	hit := func(change func(*Found)) Found {
		f := Found{Kind: Hit, CreatedAt: from.Add(5 * time.Second)}
		if change != nil {
			change(&f)
		}
		return f
	}
	earlier := func(f *Found) { f.CreatedAt = first.Add(-time.Hour) }
	absent, nothing := Found{Kind: Absent}, Found{Kind: Nothing}
	visible, settled := Control{Visible: true}, Control{Visible: true, Settled: true}
	for name, tc := range map[string]struct {
		answers []Found
		last    bool
		control Control
		want    Verdict
	}{
		"not asked yet":                            {nil, true, settled, AskMore},
		"it shows our role":                        {[]Found{hit(func(f *Found) { f.Ours = true; earlier(f) })}, false, Control{}, Stored},
		"it is paired":                             {[]Found{hit(func(f *Found) { f.Paired = true; earlier(f) })}, false, Control{}, Stored},
		"ours, but discarded":                      {[]Found{hit(func(f *Found) { f.Ours = true; f.Discarded = true })}, true, settled, Undecided},
		"discarded, of unknown role":               {[]Found{hit(func(f *Found) { f.Discarded = true })}, true, settled, Undecided},
		"created within the attempt":               {[]Found{hit(nil)}, false, Control{}, Presumed},
		"created as it began":                      {[]Found{hit(func(f *Found) { f.CreatedAt = from })}, false, Control{}, Presumed},
		"created before any attempt, early":        {[]Found{hit(earlier)}, false, Control{}, AskMore},
		"created before any attempt, at the end":   {[]Found{hit(earlier)}, true, settled, NotStored},
		"the same with a control still accepted":   {[]Found{hit(earlier)}, true, visible, AskMore},
		"the same without control":                 {[]Found{hit(earlier)}, true, Control{}, AskMore},
		"created by an earlier attempt":            {[]Found{hit(func(f *Found) { f.CreatedAt = first.Add(time.Minute) })}, true, settled, Undecided},
		"created after the attempt":                {[]Found{hit(func(f *Found) { f.CreatedAt = to.Add(time.Second) })}, true, settled, Undecided},
		"created after the attempt, early":         {[]Found{hit(func(f *Found) { f.CreatedAt = to.Add(time.Second) })}, false, settled, AskMore},
		"absent at every probe, control visible":   {[]Found{absent, absent, absent, absent}, true, visible, NotStored},
		"absent at the only probe it was asked at": {[]Found{absent}, true, visible, NotStored},
		"absent, but early":                        {[]Found{absent, absent}, false, visible, AskMore},
		"absent without control":                   {[]Found{absent, absent, absent, absent}, true, Control{}, AskMore},
		"absent after it had been found":           {[]Found{hit(nil), absent}, true, visible, Undecided},
		"no answer at the end":                     {[]Found{absent, absent, absent, nothing}, true, settled, AskMore},
		"found at last":                            {[]Found{absent, nothing, hit(func(f *Found) { f.Ours = true })}, true, Control{}, Stored},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Conclude(Case{Answers: tc.answers, Last: tc.last, Control: tc.control, First: first, From: from, To: to}); got != tc.want {
				t.Fatalf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// An item is proven absent only by a last answer that does not know it (or knows
// only a report from before our first attempt), beside a control that shows.
func TestAbsenceNeedsItsProof(t *testing.T) {
	t.Parallel()
	found := rapid.Custom(func(t *rapid.T) Found {
		return Found{Kind: rapid.SampledFrom([]FoundKind{Hit, Absent, Nothing}).Draw(t, "kind"), CreatedAt: epoch.Add(time.Duration(rapid.Int64Range(-7200, 7200).Draw(t, "created")) * time.Second),
			Ours: rapid.Bool().Draw(t, "ours"), Settled: rapid.Bool().Draw(t, "settled"), Paired: rapid.Bool().Draw(t, "paired"), Discarded: rapid.Bool().Draw(t, "discarded")}
	})
	rapid.Check(t, func(t *rapid.T) {
		c := Case{Answers: rapid.SliceOfN(found, 0, 5).Draw(t, "answers"), Last: rapid.Bool().Draw(t, "last"),
			Control: Control{Visible: rapid.Bool().Draw(t, "visible"), Settled: rapid.Bool().Draw(t, "settled")}, First: epoch.Add(-time.Hour), From: epoch, To: epoch.Add(time.Minute)}
		v := Conclude(c)
		if v != NotStored {
			return
		}
		newest := c.Answers[len(c.Answers)-1]
		switch {
		case !c.Last || !c.Control.Visible:
			t.Fatalf("absent without its proof: %+v", c)
		case newest.Kind == Absent && slices.ContainsFunc(c.Answers, func(f Found) bool { return f.Kind == Hit }):
			t.Fatalf("absent although it was seen: %+v", c)
		case newest.Kind == Hit && (!newest.CreatedAt.Before(c.First) || newest.Ours || newest.Paired || newest.Discarded || !c.Control.Settled):
			t.Fatalf("absent although a report of ours may be there: %+v", c)
		case newest.Kind == Nothing:
			t.Fatalf("absent without an answer: %+v", c)
		}
	})
}

func TestRule(t *testing.T) {
	t.Parallel()
	timing, day, hours := testTiming(), 24*time.Hour, 10*time.Hour
	for name, tc := range map[string]struct {
		verdicts   []Verdict
		probe      int
		controlled bool
		slack      time.Duration
		final      time.Duration
		want       Ruling
	}{
		"all stored":                       {[]Verdict{Stored, Stored}, 1, false, hours, 3 * day, Ruling{To: Submitted}},
		"one only presumed":                {[]Verdict{Stored, Presumed}, 1, false, hours, 3 * day, Ruling{To: Submitted, Again: day}},
		"all absent":                       {[]Verdict{NotStored, NotStored}, 4, true, hours, 3 * day, Ruling{To: Sealed}},
		"mixed":                            {[]Verdict{Stored, NotStored, Presumed}, 4, true, hours, 3 * day, Ruling{To: Submitted, Resubmit: []int{1}, Again: day}},
		"mixed, all proven":                {[]Verdict{NotStored, Stored}, 4, true, hours, 3 * day, Ruling{To: Submitted, Resubmit: []int{0}}},
		"first probe":                      {[]Verdict{AskMore, Stored}, 1, false, hours, 3 * day, Ruling{To: Unconfirmed, Again: 3 * time.Minute}},
		"third probe":                      {[]Verdict{AskMore}, 3, false, hours, 3 * day, Ruling{To: Unconfirmed, Again: 10 * time.Minute}},
		"beyond the last, no control":      {[]Verdict{AskMore}, 5, false, hours, 3 * day, Ruling{To: Unconfirmed, Again: 10 * time.Minute}},
		"no control and little time":       {[]Verdict{AskMore}, 4, false, time.Hour, 3 * day, Ruling{To: Unconfirmed, Again: 10 * time.Minute, Person: true}},
		"control, little time, no answers": {[]Verdict{AskMore}, 4, true, time.Hour, 3 * day, Ruling{To: Unconfirmed, Again: 10 * time.Minute}},
		"undecided is asked daily":         {[]Verdict{Stored, Undecided}, 4, true, hours, 3 * day, Ruling{To: Unconfirmed, Again: day}},
		"undecided beside unanswered":      {[]Verdict{AskMore, Undecided}, 4, true, hours, 3 * day, Ruling{To: Unconfirmed, Again: 10 * time.Minute}},
		"undecided at the end of its life": {[]Verdict{Undecided}, 9, true, -hours, 0, Ruling{To: Unconfirmed, Again: day, Person: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Rule(tc.verdicts, tc.probe, tc.controlled, tc.slack, tc.final, timing)
			if got.To != tc.want.To || got.Again != tc.want.Again || got.Person != tc.want.Person || !slices.Equal(got.Resubmit, tc.want.Resubmit) {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestNothingIsAskedBeforeThePosterMustHaveGivenUp(t *testing.T) {
	t.Parallel()
	timing := testTiming()
	if got, want := timing.firstProbe(epoch), epoch.Add(2*time.Minute); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	timing.Probes = []time.Duration{time.Second}
	if got, want := timing.firstProbe(epoch), epoch.Add(55*time.Second); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := sample(positions(0, 1000), 50); len(got) != 50 || got[0] != 0 || got[49] != 980 {
		t.Errorf("got %v", got)
	}
	if got := sample(positions(0, 7), 50); len(got) != 7 {
		t.Errorf("got %v", got)
	}
}
