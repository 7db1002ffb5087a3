package transport

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What publishers there are decides what a full stream does: one that waits for
// no PubAck must not be refused in silence.
func TestPublishersDecideWhatAFullStreamDoes(t *testing.T) {
	t.Parallel()
	for publishers, want := range map[string]jetstream.DiscardPolicy{"": jetstream.DiscardNew, Acked: jetstream.DiscardNew, Unacked: jetstream.DiscardOld} {
		t.Run(publishers, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			limits := Limits{Replicas: 1, InteractionsBytes: 64 << 10, EventsBytes: 64 << 10, DLQBytes: 64 << 10, Publishers: publishers}
			if err := Provision(t.Context(), r.js, r.pool, limits, time.Now()); err != nil {
				t.Fatal(err)
			}
			var err error
			for n := 0; n < 40 && err == nil; n++ {
				_, err = r.js.Publish(t.Context(), "interactions.acme-bank.ofb", make([]byte, 4<<10))
			}
			if got := r.stream(Interactions); got.Config.Discard != want || (err != nil) != (want == jetstream.DiscardNew) {
				t.Errorf("got %v and %v for a full stream, want %v", got.Config.Discard, err, want)
			}
			seen, err := Look(t.Context(), r.js, limits)
			if err != nil || len(seen.Drift) != 0 || seen.Missing {
				t.Errorf("got %+v, %v of what was just made", seen, err)
			}
			if fill := seen.Fill[Interactions]; fill < 0.8 || fill > 1 || seen.Fill[DLQ] != 0 {
				t.Errorf("got fill %v, want one stream nearly full and another empty", seen.Fill)
			}
		})
	}
}

// A stream that does not take atomic batches is named where they are wanted.
func TestAtomicDrift(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.provision(time.Now())
	wanted := small
	wanted.Atomic = true
	if got, want := r.drift(wanted), []string{"stream INTERACTIONS: atomic", "stream EVENTS: atomic"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	other := small
	other.Publishers = Unacked
	if got, want := r.drift(other), []string{"stream INTERACTIONS: discard", "stream EVENTS: discard"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPlacementIsPassedOn(t *testing.T) {
	t.Parallel()
	for _, s := range Streams(Limits{Tags: "ssd,br"}) {
		if s.Placement == nil || !slices.Equal(s.Placement.Tags, []string{"ssd", "br"}) {
			t.Errorf("%s: got %v, want both tags", s.Name, s.Placement)
		}
	}
}

func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]Limits{
		"":           {Replicas: 3, Publishers: Acked},
		"PUBLISHERS": {Publishers: "sequin"},
		"REPLICAS":   {Replicas: 2},
		"REPLICAS ":  {Replicas: 7},
	} {
		if got, why := l.Check(); got != strings.TrimSpace(want) || (why == "") != (want == "") {
			t.Errorf("%+v: got %q (%s), want %q", l, got, why, want)
		}
	}
}
