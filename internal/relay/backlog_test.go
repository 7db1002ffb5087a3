package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/relay/post"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var sameTarget = &post.Target{Path: "/x"}

func half() float64 { return 0.5 }

func hundred(batch, retries int) *backlog {
	return newBacklog(bounds{messages: 100, bytes: 1000, batch: batch, retries: retries}, half)
}

func send(t *testing.T, b *backlog, now time.Time, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if !b.put(&parcel{id: id, body: []byte(id), to: sameTarget}, now) {
			t.Fatalf("no room for %s", id)
		}
	}
}

func ids(batch []*parcel) string {
	var all []string
	for _, p := range batch {
		all = append(all, p.id)
	}
	return strings.Join(all, " ")
}

// TestC21BatchSize: never more than batch_size, and not fewer than there are.
func TestC21BatchSize(t *testing.T) {
	t.Parallel()
	b := newBacklog(bounds{messages: 100, bytes: 1000, batch: 50}, half)
	for i := range 51 {
		send(t, b, epoch, fmt.Sprint(i))
	}
	first, _ := b.take(epoch)
	if len(first) != 50 {
		t.Errorf("got %d in the first, want 50", len(first))
	}
	if rest, wait := b.take(epoch); len(rest) != 0 || wait != batchWait {
		t.Errorf("got %d and %v, want the last one to wait %v for company", len(rest), wait, batchWait)
	}
	if rest, _ := b.take(epoch.Add(batchWait)); ids(rest) != "50" {
		t.Errorf("got %q, want the last one", ids(rest))
	}
}

// TestC23Backoff is the schedule of a message that nobody takes.
func TestC23Backoff(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.5, 0.999999} {
		b := newBacklog(bounds{messages: 10, bytes: 1000, batch: 1}, func() float64 { return random })
		send(t, b, epoch, "m")
		now := epoch.Add(batchWait)
		for n, seconds := range []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 600, 600, 600} {
			batch, _ := b.take(now)
			if ids(batch) != "m" {
				t.Fatalf("attempt %d: got %q", n+1, ids(batch))
			}
			if spent := b.failed(batch, now); len(spent) > 0 {
				t.Fatal("given up without max_retry_count")
			}
			want := time.Duration(seconds * float64(time.Second))
			if seconds < 600 {
				want = time.Duration((0.85 + 0.3*random) * float64(want))
			}
			batch, wait := b.take(now)
			if len(batch) > 0 || (wait-want).Abs() > time.Microsecond {
				t.Fatalf("failure %d: got %d and wait %v, want %v", n+1, len(batch), wait, want)
			}
			if batch, _ := b.take(now.Add(want - time.Millisecond)); len(batch) > 0 {
				t.Fatalf("failure %d: tried before it is due", n+1)
			}
			now = now.Add(want)
		}
	}
}

// TestC26MaxRetryCount: so many attempts, then given up; and it is not gone before
// somebody says that it is parked.
func TestC26MaxRetryCount(t *testing.T) {
	t.Parallel()
	b := hundred(10, 3)
	b.mark(7)
	send(t, b, epoch, "poison", "good")
	b.mark(9)
	now := epoch.Add(batchWait)
	batch, _ := b.take(now)
	if spent := b.failed(batch, now); ids(batch) != "poison good" || len(spent) > 0 {
		t.Fatalf("got %q and %q spent", ids(batch), ids(spent))
	}
	now = now.Add(2 * time.Second)
	batch, _ = b.take(now)
	b.failed(batch, now)
	now = now.Add(4 * time.Second)
	alone, _ := b.take(now) // the last attempt
	if ids(alone) != "poison" {
		t.Fatalf("got %q, want the last attempt alone", ids(alone))
	}
	other, _ := b.take(now)
	b.taken(other)
	spent := b.failed(alone, now)
	if ids(other) != "good" || ids(spent) != "poison" {
		t.Fatalf("got %q taken and %q spent", ids(other), ids(spent))
	}
	if again, _ := b.take(now.Add(time.Hour)); len(again) > 0 || b.position() != 7 {
		t.Errorf("got %q and position %d before it is parked, want none and 7", ids(again), b.position())
	}
	b.parked(spent[0])
	if b.position() != 9 || b.troubled() != 0 {
		t.Errorf("got position %d and %d troubled, want 9 and none", b.position(), b.troubled())
	}
}

// TestC32Groups: what is behind a failed message of its group waits for it.
func TestC32Groups(t *testing.T) {
	t.Parallel()
	b := hundred(10, 0)
	for _, id := range []string{"a1", "b1", "a2", "a3"} {
		b.put(&parcel{id: id, body: []byte(id), to: sameTarget, group: id[:1]}, epoch)
	}
	now := epoch.Add(batchWait)
	first, _ := b.take(now)
	if ids(first) != "a1 b1" {
		t.Fatalf("got %q, want one of each group", ids(first))
	}
	if none, _ := b.take(now); len(none) > 0 {
		t.Fatalf("got %q while their group is in hand", ids(none))
	}
	b.failed(first[:1], now)
	b.taken(first[1:])
	if none, _ := b.take(now); len(none) > 0 {
		t.Fatalf("got %q during the backoff of their group", ids(none))
	}
	for _, want := range []string{"a1", "a2", "a3"} {
		now = now.Add(10 * time.Second)
		one, _ := b.take(now)
		if ids(one) != want {
			t.Fatalf("got %q, want %q", ids(one), want)
		}
		b.taken(one)
	}
}

// TestPoisonTravelsAlone: neighbours of a message that nobody takes are through
// after a few attempts, and it holds nothing but the position.
func TestPoisonTravelsAlone(t *testing.T) {
	t.Parallel()
	b := hundred(50, 0)
	for i := range 50 {
		send(t, b, epoch, fmt.Sprintf("m%02d", i))
	}
	now, rounds := epoch.Add(batchWait), 0
	for ; b.count > 1; rounds++ {
		if rounds > 200 {
			t.Fatalf("%d are left", b.count)
		}
		batch, wait := b.take(now)
		switch {
		case len(batch) == 0:
			now = now.Add(wait)
		case slices.ContainsFunc(batch, func(p *parcel) bool { return p.id == "m25" }):
			b.failed(batch, now)
		default:
			b.taken(batch)
		}
	}
	if took := now.Sub(epoch); took > time.Minute {
		t.Errorf("the neighbours took %v, want less than a minute", took)
	}
	// A thousand more pass by; nothing of them is kept.
	for i := range 1000 {
		send(t, b, now, "later")
		b.mark(uint64(i + 1))
		now = now.Add(batchWait)
		batch, _ := b.take(now)
		if ids(batch) != "later" {
			now = now.Add(batchWait)
			if ids(batch) == "m25" {
				b.failed(batch, now)
				batch, _ = b.take(now)
			}
		}
		b.taken(batch)
	}
	if b.count != 1 || b.position() != 0 {
		t.Errorf("got %d left and position %d, want the poison, and the position in front of it", b.count, b.position())
	}
}

// TestBrake: while nothing is taken, few are tried; when it is over, those that
// were not go at once.
func TestBrake(t *testing.T) {
	t.Parallel()
	b := hundred(1, 0)
	for i := range 90 {
		send(t, b, epoch, fmt.Sprintf("%02d", i))
	}
	tried := 0
	now := epoch.Add(batchWait)
	for end := now.Add(10 * time.Minute); now.Before(end); {
		batch, wait := b.take(now)
		if len(batch) == 0 {
			now = now.Add(wait)
			continue
		}
		if batch[0].failures == 0 {
			tried++
		}
		b.failed(batch, now)
	}
	if tried > braked+int(10*time.Minute/brakeTime) || tried < braked+1 {
		t.Errorf("got %d tried for the first time in ten minutes", tried)
	}
	healed := now
	for b.troubled() < b.count { // those that were never tried
		batch, wait := b.take(now)
		if len(batch) == 0 {
			now = now.Add(wait)
			continue
		}
		b.taken(batch)
	}
	if took := now.Sub(healed); took > 2*brakeTime {
		t.Errorf("they waited %v after the end of the trouble, want at most %v", took, 2*brakeTime)
	}
}

func TestBacklogBounds(t *testing.T) {
	t.Parallel()
	b := newBacklog(bounds{messages: 2, bytes: 10, batch: 1}, half)
	big := &parcel{id: "big", body: make([]byte, 50), to: sameTarget}
	if !b.put(big, epoch) {
		t.Fatal("no room for a large one where nothing is")
	}
	if b.put(&parcel{body: make([]byte, 1), to: sameTarget}, epoch) {
		t.Fatal("room beyond the bytes")
	}
	batch, _ := b.take(epoch)
	b.taken(batch)
	select {
	case <-b.room:
	default:
		t.Fatal("nobody is told that there is room")
	}
	send(t, b, epoch, "1", "2")
	if b.put(&parcel{to: sameTarget}, epoch) {
		t.Fatal("room beyond the messages")
	}
}

// TestBacklogModel: whatever happens in whatever order, the position is in front
// of everything that is not done and never goes back, no message is in two hands,
// and in the end all are done.
func TestBacklogModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		retries := rapid.IntRange(0, 4).Draw(t, "retries")
		b := newBacklog(bounds{messages: 20, bytes: 200, batch: rapid.IntRange(1, 6).Draw(t, "batch"), retries: retries}, half)
		now := epoch
		left := map[*parcel]uint64{} // and the mark in front of it
		var hands [][]*parcel
		var lsn, position uint64
		check := func() {
			at := b.position()
			for p, before := range left {
				if at > before {
					t.Fatalf("position %d is behind %s, which came after %d", at, p.id, before)
				}
			}
			if at < position || len(left) == 0 && at != lsn {
				t.Fatalf("got position %d after %d, with %d left and %d read", at, position, len(left), lsn)
			}
			position = at
		}
		finish := func(hand []*parcel, ok bool) {
			done := hand
			if ok {
				b.taken(hand)
			} else {
				done = b.failed(hand, now)
				for _, p := range done {
					if p.failures != retries {
						t.Fatalf("given up after %d failures, want %d", p.failures, retries)
					}
					b.parked(p)
				}
			}
			for _, p := range done {
				delete(left, p)
			}
		}
		take := func() time.Duration {
			hand, wait := b.take(now)
			for i, p := range hand {
				if slices.ContainsFunc(hands, func(h []*parcel) bool { return slices.Contains(h, p) }) {
					t.Fatalf("%s is in two hands", p.id)
				}
				for _, other := range hand[:i] {
					if p.group != "" && p.group == other.group {
						t.Fatalf("two of group %s in one request", p.group)
					}
				}
			}
			if len(hand) > 0 {
				hands = append(hands, hand)
			}
			return wait
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"put": func(t *rapid.T) {
				p := &parcel{id: fmt.Sprint(len(left)), body: make([]byte, rapid.IntRange(0, 60).Draw(t, "bytes")), to: sameTarget,
					group: rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "group")}
				if b.put(p, now) {
					left[p] = lsn
				}
			},
			"mark": func(t *rapid.T) { lsn += uint64(rapid.IntRange(1, 5).Draw(t, "by")); b.mark(lsn) },
			"take": func(*rapid.T) { take() },
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			},
			"answer": func(t *rapid.T) {
				if len(hands) == 0 {
					t.Skip("nothing in hand")
				}
				i := rapid.IntRange(0, len(hands)-1).Draw(t, "which")
				hand := hands[i]
				hands = slices.Delete(hands, i, i+1)
				finish(hand, rapid.Bool().Draw(t, "ok"))
			},
		})
		for len(left) > 0 {
			if wait := take(); len(hands) == 0 {
				now = now.Add(wait)
			}
			for _, hand := range hands {
				finish(hand, true)
			}
			hands = nil
		}
		check()
		if b.count != 0 || b.bytes != 0 || b.troubled() != 0 || b.outstanding() != 0 {
			t.Fatalf("got %d messages of %d bytes and %d troubled at the end", b.count, b.bytes, b.troubled())
		}
	})
}
