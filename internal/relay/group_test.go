package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

func TestGroupAnswer(t *testing.T) {
	t.Parallel()
	refused := func(code int) string {
		return fmt.Sprintf(`{"error":{"code":400,"err_code":%d,"description":"x"},"stream":"EVENTS","seq":0}`, code)
	}
	for name, c := range map[string]struct {
		status, data string
		want         fate
	}{
		"stored as a whole":              {"", `{"stream":"EVENTS", "seq":7,"batch":"b","count":3}`, allThere},
		"a part of it":                   {"", `{"stream":"EVENTS", "seq":7,"batch":"b","count":2}`, noGroups},
		"each for itself, an old server": {"", `{"stream":"EVENTS","seq":7}`, noGroups},
		"the last one was there before":  {"", `{"stream":"EVENTS","seq":7,"duplicate":true}`, noGroups},
		"not allowed by the stream":      {"", refused(10174), noGroups},
		"one is stored already":          {"", refused(10201), eachAgain},
		"one is being stored":            {"", refused(10158), eachAgain},
		"a part was lost":                {"", refused(10176), eachAgain},
		"too many at once":               {"", refused(10210), eachAgain},
		"one is too large":               {"", refused(10054), eachAgain},
		"more than the server takes":     {"", refused(10199), smaller},
		"the stream is full":             {"", refused(10077), eachFailed},
		"another stream":                 {"", refused(10060), eachFailed},
		"nobody listens":                 {"503", ``, eachFailed},
		"nothing":                        {"", ``, eachFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, got := groupAnswer(c.status, []byte(c.data), 3); got != c.want {
				t.Errorf("got fate %d, want %d", got, c.want)
			}
		})
	}
}

func TestGroupsWaitForNobody(t *testing.T) {
	t.Parallel()
	g := newGroups(Config{Group: 10})
	if g.wanted([]byte("events.a.ofb.x")) {
		t.Error("want none before the stream has said that it takes them")
	}
	g.takes(transport.Events, true)
	wantMay := func(fresh, want int) {
		t.Helper()
		if got := g.may(fresh); got != want {
			t.Errorf("with %d fresh and %d on their way: got %d may go, want %d", fresh, len(g.flying), got, want)
		}
	}
	wantMay(0, 0)
	wantMay(1, 1)
	wantMay(25, 10)
	g.fly(1, &group{stream: transport.Events, sent: dawn})
	wantMay(9, 0)
	for n := uint64(2); n <= fullAtOnce; n++ {
		wantMay(10, 10)
		g.fly(n, &group{stream: transport.Events, sent: dawn.Add(time.Second)})
	}
	wantMay(100, 0)
	g.expire(dawn.Add(time.Second))
	if g.land(1) != nil || g.land(2) == nil || g.land(2) != nil {
		t.Error("want the first given up, and each other landing once")
	}
	g.shrink()
	wantMay(5, 5)
	if !g.wanted([]byte("events.a.ofb.x")) || g.wanted([]byte("interactions.a.ofb")) || !g.takes(transport.Events, false) || g.takes(transport.Events, false) || g.wanted([]byte("events.a.ofb.x")) {
		t.Error("want groups for the stream that takes them, until it says otherwise")
	}
}

func TestFreshMessagesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	w := testWindow(8, 1<<10)
	mustPut(t, w)
	for n := range 3 {
		if _, ok := w.hold(&outgoing{subject: []byte("s"), body: []byte{byte('a' + n)}}); !ok {
			t.Fatal("got no room")
		}
	}
	if got := dueNow(w, time.Hour); got != "late 0" {
		t.Errorf("got %q due, want nothing that was never sent", got)
	}
	w.reconnected()
	var m outgoing
	for n := uint64(1); n <= 3; n++ {
		if seq, ok := w.nextFresh(&m); !ok || seq != n || m.body[0] != byte('a'+n-1) {
			t.Errorf("got message %d %q, %v, want %d", seq, m.body, ok, n)
		}
	}
	if _, ok := w.nextFresh(&m); ok || w.freshOnes() != 0 {
		t.Error("got one more")
	}
	w.again([]uint64{1, 2})
	w.settleAll([]uint64{0, 2, 3, 99})
	if got := dueNow(w, time.Hour); got != "again 1" {
		t.Errorf("got %q due, want the one that is not stored", got)
	}
}

// grouped counts the stored messages that came in a group.
func (r *rig) grouped(stream string) (n int) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	info := s.CachedInfo().State
	for seq := info.FirstSeq; seq <= info.LastSeq; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Header.Get(headerGroup) != "" {
			n++
		}
	}
	return n
}

// TestGroups: a backlog of both streams goes in groups, each row once and in its
// order, and few answers are waited for.
func TestGroups(t *testing.T) {
	t.Parallel()
	r := newGroupRig(t)
	for range 4 {
		r.append(700, "consent.advanced")
		r.append(50, "interaction.completed")
	}
	run := r.start()
	r.wantAll(3000)
	r.confirmed()
	if got := run.Stats(); got.Groups == 0 || got.Groups > 200 || got.Stored != 3000 || got.Duplicate != 0 || got.Failed != 0 {
		t.Errorf("got %+v, want 3000 stored by few groups", got)
	}
	if got := r.grouped(transport.Interactions); got < 100 {
		t.Errorf("got %d of 200 messages in groups", got)
	}
	ids := r.ids(transport.Events)
	for i := 1; i < len(ids); i++ {
		if ids[i] <= ids[i-1] && !r.sameTime(ids[i-1], ids[i]) {
			t.Fatalf("message %d (%s) is behind %s: in another order than written", i, ids[i], ids[i-1])
		}
	}
}

// sameTime: ids of one millisecond have no order of their own.
func (r *rig) sameTime(a, b string) bool {
	first, err1 := event.ParseID(a)
	second, err2 := event.ParseID(b)
	return err1 == nil && err2 == nil && first.Time().Equal(second.Time())
}

// TestAGroupWithAKnownID is refused as a whole; its messages go alone then, and
// the known one is met by its id.
func TestAGroupWithAKnownID(t *testing.T) {
	t.Parallel()
	r := newGroupRig(t)
	r.append(300, "consent.advanced")
	known := nats.NewMsg("events.acme-bank.ofb.consent.advanced")
	known.Header.Set(headerMsgID, r.outboxIDs()[150].String())
	if _, err := r.nats.JetStream().PublishMsg(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	run := r.start()
	r.wantAll(300)
	r.confirmed()
	if got := run.Stats(); got.Duplicate != 1 || got.Stored != 299 || got.Failed != 0 {
		t.Errorf("got %+v, want one known and no failure", got)
	}
}

// TestAGroupWithALargeMessage: the one is parked, the others are stored.
func TestAGroupWithALargeMessage(t *testing.T) {
	t.Parallel()
	r := newGroupRig(t)
	conn := r.pg.Conn(testenv.Superuser)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100, 100, 600 << 10, 100, 100} {
		if _, err := tx.Exec(t.Context(), sqlAppendSized, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := r.start()
	r.stored(4)
	r.confirmed()
	if got := r.parked(); len(got) != 1 || !strings.Contains(got[0].Detail, "the stream refuses it") || run.Stats().Stored != 4 {
		t.Errorf("got %+v parked and %+v, want the large one alone", got, run.Stats())
	}
}

// TestAStreamThatTakesNoGroups gets each message alone, and once.
func TestAStreamThatTakesNoGroups(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard, err := r.nats.Conn().SubscribeSync("events.>")
	if err != nil {
		t.Fatal(err)
	}
	r.append(300, "consent.advanced")
	run := r.start()
	r.wantAll(300)
	r.confirmed()
	if got := run.Stats(); got.Groups != 0 || got.Stored != 300 || got.Duplicate != 0 || got.Failed != 0 {
		t.Errorf("got %+v, want each stored alone", got)
	}
	for n := range 300 {
		if m, err := heard.NextMsg(patience); err != nil || m.Header.Get(headerGroup) != "" {
			t.Fatalf("message %d: got %v, %v, want it alone", n, m, err)
		}
	}
	if m, err := heard.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("got %s sent twice", m.Header.Get(headerMsgID))
	}
}

// TestAStreamThatTakesNoGroupsAnyMore: somebody changed it under way. The next
// group is refused, and everything goes one by one.
func TestAStreamThatTakesNoGroupsAnyMore(t *testing.T) {
	t.Parallel()
	r := newGroupRig(t)
	run := r.start()
	r.log.await(t, "relay.connected")
	js := r.nats.JetStream()
	for _, cfg := range transport.Streams(transport.Limits{Replicas: 1, InteractionsBytes: 1 << 30, EventsBytes: 1 << 30, DLQBytes: 1 << 20}) {
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	r.append(300, "consent.advanced")
	r.wantAll(300)
	r.append(300, "consent.advanced")
	r.wantAll(600)
	r.confirmed()
	if got := run.Stats(); got.Groups != 0 || got.Stored != 600 || got.Duplicate != 0 || got.Failed != 0 {
		t.Errorf("got %+v, want each stored alone", got)
	}
	if lines, _ := r.log.with("publish.ungrouped"); len(lines) != 1 {
		t.Errorf("got it told %d times, want once", len(lines))
	}
}

// TestGroupsAndABrokerThatGoes: NATS is killed under load, the connection breaks at
// any byte, and nothing is lost or stored twice.
func TestGroupsAndABrokerThatGoes(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) { // a process: one that ends in order within ours leaves a half-received batch running
		t.Parallel()
		r := newGroupRig(t)
		server := testenv.NATSNodes(t, 1, nil)
		r.js = server.JetStream()
		r.provisionOn(r.js)
		run := r.startOn(r.connectTo(server.URL()))
		load := r.produce()
		for range 2 {
			seen := r.count()
			await(t, "progress", func() bool { return r.count() > seen+300 })
			server.Kill(0)
			await(t, "the loss to be noticed", func() bool { return run.Ready() == "nats is not connected" })
			r.append(3000, "consent.advanced")
			server.Start(0)
		}
		load.stop()
		r.wantAll(r.rows())
		r.confirmed()
		if run.Stats().Groups == 0 {
			t.Error("got no groups")
		}
	})
	for name, rule := range map[string]testenv.Rule{
		"before messages arrive":     {Up: testenv.Fault{After: 100_000, Then: testenv.Reset}},
		"before answers arrive":      {Down: testenv.Fault{After: 2_300, Then: testenv.Reset, Await: true}},
		"messages fall on deaf ears": {Up: testenv.Fault{After: 100_000, Then: testenv.Blackhole}},
		"answers are never heard":    {Down: testenv.Fault{After: 2_300, Then: testenv.Blackhole, Await: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newGroupRig(t)
			r.append(100, "consent.advanced")
			proxy := testenv.Proxy(t, strings.TrimPrefix(r.nats.URL(), "nats://"))
			proxy.Next(rule, rule)
			r.startOn(r.connectTo("nats://"+proxy.Addr(), nats.PingInterval(100*time.Millisecond), nats.MaxPingsOutstanding(1)))
			await(t, "the first two connections broken", func() bool {
				if r.rows() < 20_000 {
					r.append(100, "consent.advanced")
				}
				return len(proxy.Conns()) >= 3
			})
			r.wantAll(r.rows())
			r.confirmed()
		})
	}
}
