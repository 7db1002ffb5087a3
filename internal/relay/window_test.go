package relay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var dawn = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func testWindow(slots, bytes int) *window {
	w := newWindow(slots, bytes, 10*time.Second, func() float64 { return 0.5 })
	w.reset(dawn)
	return w
}

func sized(n int) *outgoing {
	return &outgoing{subject: []byte("events.a.ofb.x"), msgID: []byte("id"), body: bytes.Repeat([]byte("b"), n)}
}

func mustPut(t *testing.T, w *window) uint64 {
	t.Helper()
	seq, ok := w.put(sized(10))
	if !ok {
		t.Fatal("got no room")
	}
	return seq
}

func told(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestPositionWaitsForTheOldest(t *testing.T) {
	t.Parallel()
	w := testWindow(8, 1<<10)
	a, b := mustPut(t, w), mustPut(t, w)
	w.mark(100)
	c := mustPut(t, w)
	w.mark(200)
	w.settle(c)
	w.settle(b)
	if got := w.position(); got != 0 {
		t.Fatalf("got position %d with message %d open, want 0", got, a)
	}
	w.settle(a)
	if got := w.position(); got != 200 || !told(w.progress) {
		t.Fatalf("got position %d, want 200 and a word about it", got)
	}
	w.mark(300) // an idle server goes on
	if got := w.position(); got != 300 || !told(w.progress) {
		t.Fatalf("got position %d, want 300 and a word about it", got)
	}
}

func TestUncommittedIsNoPosition(t *testing.T) {
	t.Parallel()
	w := testWindow(8, 1<<10)
	w.mark(100)
	w.settle(mustPut(t, w)) // and its transaction is not over
	if got := w.position(); got != 100 {
		t.Errorf("got position %d, want 100", got)
	}
}

func TestLateNewsMeansNothing(t *testing.T) {
	t.Parallel()
	w := testWindow(2, 1<<10)
	a := mustPut(t, w)
	w.settle(a)
	b, c := mustPut(t, w), mustPut(t, w)
	w.mark(100)
	if w.settle(a) || w.settle(c+1) {
		t.Error("got a message settled that is gone, or not there yet")
	}
	w.failed(a)
	w.refused(c + 1)
	w.settle(c)
	if w.settle(c) {
		t.Error("got a message settled twice")
	}
	w.reset(dawn)
	w.mark(200)
	d := mustPut(t, w)
	w.settle(b) // of the session before
	w.mark(300)
	if got := w.position(); got != 200 || d <= c {
		t.Errorf("got position %d and number %d, want 200 and one above %d", got, d, c)
	}
}

func TestRoomIsToldOfLate(t *testing.T) {
	t.Parallel()
	w := testWindow(8, 1<<10)
	var all []uint64
	for range 8 {
		all = append(all, mustPut(t, w))
	}
	if _, ok := w.put(sized(1)); ok {
		t.Fatal("got room for a ninth of eight")
	}
	w.settle(all[0])
	if told(w.room) {
		t.Error("got woken for one slot, want to sleep until a quarter is free")
	}
	w.settle(all[1])
	if !told(w.room) {
		t.Error("got no word of a quarter that is free")
	}
}

func TestALargeMessageGetsIn(t *testing.T) {
	t.Parallel()
	w := testWindow(64, 980)
	small := mustPut(t, w)
	if _, ok := w.put(sized(950)); ok {
		t.Fatal("got a large message beside a small one")
	}
	w.settle(small)
	if !told(w.room) {
		t.Fatal("got no word when the window was empty")
	}
	if _, ok := w.put(sized(950)); !ok {
		t.Fatal("got no room in an empty window")
	}
}

// dueNow lists what is due: "again 3", "park 4", "late 5".
func dueNow(w *window, after time.Duration) string {
	w.tick(dawn.Add(after))
	var all []string
	var out outgoing
	for from := uint64(0); ; {
		seq, what, ok := w.due(from, &out)
		if !ok {
			return strings.Join(all, ", ")
		}
		all = append(all, fmt.Sprint(map[state]string{sent: "again", refused: "park", waiting: "late"}[what], " ", seq))
		from = seq + 1
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do    func(w *window, seqs []uint64)
		after time.Duration
		want  string
	}{
		"nothing is due at once":                    {func(*window, []uint64) {}, time.Second, ""},
		"a message without an answer is late":       {func(*window, []uint64) {}, 10 * time.Second, "late 0, late 1, late 2"},
		"a failed one waits a second":               {func(w *window, s []uint64) { w.failed(s[1]) }, 999 * time.Millisecond, ""},
		"and goes then":                             {func(w *window, s []uint64) { w.failed(s[1]) }, time.Second, "again 1"},
		"one that failed twice waits two":           {func(w *window, s []uint64) { w.failed(s[1]); w.failed(s[1]) }, 2 * time.Second, "again 1"},
		"one that could not be written goes so too": {func(w *window, s []uint64) { w.unsent(s[0]) }, time.Second, "again 0"},
		"a refused one is parked at once":           {func(w *window, s []uint64) { w.refused(s[2]) }, 0, "park 2"},
		"after a reconnect all go at once":          {func(w *window, s []uint64) { w.failed(s[0]); w.settle(s[1]); w.reconnected() }, 0, "again 0, again 2"},
		"but for those that are refused":            {func(w *window, s []uint64) { w.refused(s[0]); w.reconnected() }, 0, "park 0, again 1, again 2"},
		"a success lets two others go early":        {func(w *window, s []uint64) { w.failed(s[0]); w.failed(s[1]); w.failed(s[2]); w.settle(s[0]) }, 0, "again 1, again 2"},
		"a first success does not":                  {func(w *window, s []uint64) { w.failed(s[1]); w.settle(s[0]) }, 0, ""},
		"the oldest may be a probe":                 {func(w *window, s []uint64) { w.failed(s[1]); w.failed(s[2]); w.probe() }, 0, "again 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := testWindow(8, 1<<10)
			c.do(w, []uint64{mustPut(t, w), mustPut(t, w), mustPut(t, w)})
			if got := dueNow(w, c.after); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 9: 256 * time.Second, 10: 600 * time.Second, 11: 600 * time.Second, 1000: 600 * time.Second,
	} {
		if got := backoff(n, 0.5); got != want {
			t.Errorf("after failure %d: got %v, want %v", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, random := rapid.IntRange(1, 9).Draw(t, "n"), rapid.Float64Range(0, 1).Draw(t, "random")
		middle := time.Second << (n - 1)
		if got := backoff(n, random); got < middle*85/100 || got > middle*115/100 {
			t.Fatalf("after failure %d: got %v, want within 15%% of %v", n, got, middle)
		}
	})
}

// TestWindowModel plays a window against a plain list of messages: no position
// passes a message that is not done, what goes again is what came in, and its
// memory stays as it was.
func TestWindowModel(t *testing.T) {
	t.Parallel()
	type entry struct {
		body string
		done bool
	}
	rapid.Check(t, func(t *rapid.T) {
		const memory = 400
		w := testWindow(rapid.IntRange(1, 9).Draw(t, "slots"), memory)
		all := map[uint64]*entry{}
		marks := map[uint64]uint64{} // position → the messages below it
		var next, lsn uint64
		now := dawn
		pick := func() uint64 { return rapid.Uint64Range(0, next).Draw(t, "seq") }
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch step := rapid.SampledFrom([]string{"put", "hold", "take", "mark", "settle", "settle", "fail", "unsent", "refuse", "reconnect", "again", "due", "probe"}).Draw(t, "step"); step {
			case "put", "hold":
				body := strings.Repeat(string(rune('a'+next%26)), rapid.IntRange(0, 150).Draw(t, "size"))
				in := w.hold
				if step == "put" && w.freshOnes() == 0 { // as the relay does
					in = w.put
				}
				if seq, ok := in(&outgoing{subject: []byte("s"), body: []byte(body)}); ok {
					if seq != next {
						t.Fatalf("got number %d, want %d", seq, next)
					}
					all[seq] = &entry{body: body}
					next++
				}
			case "take":
				var out outgoing
				if seq, ok := w.nextFresh(&out); ok && string(out.body) != all[seq].body {
					t.Fatalf("message %d goes as %q, want %q", seq, out.body, all[seq].body)
				}
			case "again":
				w.again([]uint64{pick(), pick()})
			case "mark":
				lsn += 10
				marks[lsn] = next
				w.mark(lsn)
			case "settle":
				if seq := pick(); w.settle(seq) {
					all[seq].done = true
				}
			case "fail":
				w.failed(pick())
			case "unsent":
				w.unsent(pick())
			case "refuse":
				w.refused(pick())
			case "reconnect":
				w.reconnected()
			case "probe":
				w.probe()
			case "due":
				now = now.Add(time.Duration(rapid.IntRange(0, 700).Draw(t, "seconds")) * time.Second)
				w.tick(now)
				var out outgoing
				for from := uint64(0); ; {
					seq, what, ok := w.due(from, &out)
					if !ok {
						break
					}
					if e := all[seq]; e == nil || e.done || what != waiting && string(out.body) != e.body {
						t.Fatalf("message %d is due as %d with %q, want %+v", seq, what, out.body, e)
					}
					from = seq + 1
				}
			}
			below := marks[w.position()]
			for seq, e := range all {
				if seq < below && !e.done {
					t.Fatalf("position %d passes message %d, which is not done", w.position(), seq)
				}
			}
			if len(w.arena.memory) != memory || len(w.marks.pending) > 2*len(w.slots)+2 {
				t.Fatalf("grew to %d bytes and %d marks", len(w.arena.memory), len(w.marks.pending))
			}
		}
		// Whatever happened, when all are done everything is.
		for ok := true; ok; {
			_, ok = w.nextFresh(&outgoing{})
		}
		for seq := range next {
			w.settle(seq)
		}
		w.mark(lsn + 10)
		if got := w.position(); got != lsn+10 || w.outstanding() != 0 {
			t.Fatalf("got position %d with %d outstanding, want %d and none", got, w.outstanding(), lsn+10)
		}
	})
}
