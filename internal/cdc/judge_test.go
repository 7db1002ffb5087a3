package cdc

import (
	"testing"

	"pgregory.net/rapid"
)

// well is a slot that our relay reads.
func well(change ...func(*Seen)) Seen {
	s := Seen{SystemID: "7", Timeline: 1, Exists: true, Ours: true, Status: "reserved", Confirmed: 1000, Active: true, Limit: 64 << 20}
	for _, c := range change {
		c(&s)
	}
	return s
}

func gone(s *Seen)     { *s = Seen{SystemID: s.SystemID, Timeline: s.Timeline, Limit: s.Limit} }
func further(s *Seen)  { s.Confirmed = 2001 }
func promoted(s *Seen) { s.Timeline = 2 }
func synced(s *Seen)   { s.Synced = true }

func TestJudge(t *testing.T) {
	t.Parallel()
	ours, others := &Known{SystemID: "7", Timeline: 1, Reach: 2000}, &Known{SystemID: "7", Timeline: 1}
	for name, tc := range map[string]struct {
		known *Known
		now   Seen
		want  State
	}{
		"as it was":                           {ours, well(), Alive},
		"as far as we said":                   {ours, well(func(s *Seen) { s.Confirmed = 2000 }), Alive},
		"never seen":                          {nil, well(further), Alive},
		"there never was one":                 {nil, well(gone), Absent},
		"gone":                                {ours, well(gone), Missing},
		"gone after a promotion":              {ours, well(promoted, gone), Missing},
		"lost":                                {ours, well(func(s *Seen) { s.Status = "lost" }), Invalidated},
		"lost, and nobody had seen it":        {nil, well(func(s *Seen) { s.Status = "lost" }), Invalidated},
		"invalidated for another reason":      {ours, well(func(s *Seen) { s.Invalidation = "idle_timeout" }), Invalidated},
		"unreserved may be caught up with":    {ours, well(func(s *Seen) { s.Status = "unreserved" }), Alive},
		"further than we ever confirmed":      {ours, well(further), Replaced},
		"another relay confirms as it likes":  {others, well(further), Alive},
		"of another plugin":                   {ours, well(func(s *Seen) { s.Ours = false }), Foreign},
		"still being made":                    {ours, well(func(s *Seen) { s.Confirmed = 0 }), Making},
		"after a promotion, synced":           {ours, well(promoted, synced), Survived},
		"after a promotion, made there":       {ours, well(promoted), Replaced},
		"a copy on another system":            {ours, well(synced, func(s *Seen) { s.SystemID = "8" }), Replaced},
		"a standby says nothing about itself": {ours, well(gone, func(s *Seen) { s.Standby = true }), Waiting},
	} {
		if got := Judge(tc.known, tc.now); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

// Our own confirming, whatever was written down of it before a crash, is never
// taken for another slot; one that was made anew behind what we said always is.
func TestOwnConfirmingIsNoLoss(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		reach, confirmed := uint64(0), uint64(1)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			next := confirmed + rapid.Uint64Range(0, 3*stride).Draw(t, "log")
			if next > reach { // as the relay does: said first, then done; either may be the last
				reach = next + stride
				if rapid.Bool().Draw(t, "killed in between") {
					break
				}
			}
			confirmed = next
		}
		known := &Known{SystemID: "7", Timeline: 1, Reach: max(reach, confirmed)}
		if got := Judge(known, well(func(s *Seen) { s.Confirmed = confirmed })); got != Alive {
			t.Fatalf("got %s for a slot at %d, which we said may reach %d", got, confirmed, reach)
		}
		end := known.Reach + rapid.Uint64Range(1, stride).Draw(t, "behind")
		if got := Judge(known, well(func(s *Seen) { s.Confirmed = end })); got != Replaced {
			t.Fatalf("got %s for a slot at %d, which nobody of us confirmed", got, end)
		}
	})
}

func TestRatioAndStatus(t *testing.T) {
	t.Parallel()
	bytes := func(n int64) func(*Seen) { return func(s *Seen) { s.SafeWAL = &n } }
	for name, tc := range map[string]struct {
		now    Seen
		ratio  float64
		known  bool
		status string
	}{
		"half":              {well(bytes(32 << 20)), 0.5, true, "reserved"},
		"more than all":     {well(bytes(80 << 20)), 1, true, "reserved"},
		"overdrawn":         {well(bytes(-1), func(s *Seen) { s.Status = "unreserved" }), 0, true, "unreserved"},
		"lost":              {well(func(s *Seen) { s.Status = "lost" }), 0, true, "lost"},
		"idle for too long": {well(func(s *Seen) { s.Invalidation = "idle_timeout" }), 0, true, "lost"},
		"gone":              {well(gone), 0, true, "missing"},
		"no limit":          {well(func(s *Seen) { s.Limit = -1 }), 0, false, "reserved"},
	} {
		ratio, known := tc.now.safeRatio()
		if ratio != tc.ratio || known != tc.known || tc.now.status() != tc.status {
			t.Errorf("%s: got %v %v %s", name, ratio, known, tc.now.status())
		}
		if complains := Unbounded(tc.now) != ""; complains != (tc.now.Limit < 0) {
			t.Errorf("%s: complains %v", name, complains)
		}
	}
}
