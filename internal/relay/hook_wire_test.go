package relay

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/post"
	"github.com/finnest/event-runtime/internal/relay/route"
)

// TestC21Batches: 51 rows are two requests at least, and none has more than 50.
func TestC21Batches(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	r.append(51, "consent.advanced")
	r.post()
	h.wantTaken(r)
	r.confirmed()
	requests := h.requests()
	if len(requests) < 2 {
		t.Errorf("got %d requests, want at least 2", len(requests))
	}
	for _, a := range requests {
		if n := len(a.elements(t)); n > 50 {
			t.Errorf("got %d elements in a request", n)
		}
	}
}

// TestC20Bare: batch: false sends the message and nothing around it.
func TestC20Bare(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t, "batch_size: 50", "batch_size: 1", "batch: true", "batch: false")
	r.append(2, "consent.advanced")
	h.answering(func(a asked) int { // taken reads batches
		if bytes.HasPrefix(a.body, []byte(`{"record":{`)) {
			return http.StatusNoContent
		}
		return http.StatusBadRequest
	})
	run := r.post()
	r.confirmed()
	if got := run.Stats(); got.Stored != 2 || got.Failed != 0 {
		t.Errorf("got %+v, want two messages, each by itself", got)
	}
}

// TestC22SecondRequest: 500, then 200, is one success.
func TestC22SecondRequest(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	var n atomic.Int32
	h.answering(func(asked) int {
		if n.Add(1) == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	r.append(1, "consent.advanced")
	run := r.post()
	r.confirmed()
	requests := h.requests()
	if len(requests) != 2 || !bytes.Equal(requests[0].body, requests[1].body) {
		t.Fatalf("got %d requests, want the same one twice", len(requests))
	}
	if got := run.Stats(); got.Failed != 0 || got.Stored != 1 {
		t.Errorf("got %+v, want one success and no failure", got)
	}
}

// TestC23Refused: 400 is one request an attempt, and another attempt about a
// second later.
func TestC23Refused(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	times := make(chan time.Time, 100)
	h.answering(func(asked) int {
		times <- time.Now()
		return http.StatusBadRequest
	})
	run := r.post()
	r.append(1, "consent.advanced")
	behind := r.here()
	var at []time.Time
	for range 3 {
		select {
		case when := <-times:
			at = append(at, when)
		case <-time.After(patience):
			t.Fatalf("got %d attempts, want 3", len(at))
		}
	}
	for i, least := range []time.Duration{850 * time.Millisecond, 1700 * time.Millisecond} {
		if got := at[i+1].Sub(at[i]); got < least {
			t.Errorf("attempt %d came after %v, want at least %v", i+2, got, least)
		}
	}
	r.notReached(behind)
	if got, want := run.Ready(), "the endpoint does not take messages: "+post.Refused; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	h.answering(nil)
	h.wantTaken(r)
	r.confirmed()
	await(t, "readiness", func() bool { return run.Ready() == "" })
	r.log.await(t, "post.recovered")
	if lines, _ := r.log.with("post.failed"); len(lines) != 1 {
		t.Errorf("got %d lines about it, want one: %q", len(lines), lines)
	}
}

// TestC26Discarded: three attempts, then a dead letter, and the slot goes on.
func TestC26Discarded(t *testing.T) {
	t.Parallel()
	for name, transform := range map[string]string{"whole messages": "", "transformed ones": "    transform: pick\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, h := hookRig(t, "    message_grouping: false", transform+"    max_retry_count: 3\n    message_grouping: false",
				"http_endpoints:", "functions: [{name: pick, type: path, path: record.payload}]\nhttp_endpoints:")
			h.answering(func(a asked) int {
				if bytes.Contains(a.body, []byte(`"n":1}`)) {
					return http.StatusBadRequest
				}
				return http.StatusOK
			})
			run := r.post()
			r.log.await(t, "relay.connected")
			r.append(1, "consent.advanced") // n is 1
			r.log.await(t, "event.parked")
			r.confirmed()
			if n := len(h.requests()); n != 3 {
				t.Errorf("got %d attempts, want 3", n)
			}
			all := r.parked()
			if len(all) != 1 {
				t.Fatalf("got %d dead letters, want 1", len(all))
			}
			id := r.outboxIDs()[0]
			got := all[0]
			if !strings.Contains(got.Detail, "status 400") || got.Bytes == 0 {
				t.Errorf("got detail %q and %d bytes", got.Detail, got.Bytes)
			}
			got.Detail, got.Bytes = "", 0
			if want := (parked{"ingest", "relay", id.String(), "acme-bank", id.Day(), id, string(event.Undeliverable), "", "/sequin/outbox", 0}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if got := run.Stats(); got.Parked != 1 || got.Failed != 3 {
				t.Errorf("got %+v, want one parked after three failures", got)
			}
			await(t, "readiness", func() bool { return run.Ready() == "" })
		})
	}
}

// TestC28RoutedRequest: a routing function's path and headers go before those of
// the file, and its path instead of the sink's.
func TestC28RoutedRequest(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	relay := r.made(nil)
	relay.plan.webhook.target = post.Target{}
	relay.plan.webhook.route = func([]string) route.Requester {
		return func(route.Row) route.Request {
			return route.Request{Method: http.MethodPut, Path: "/x", Headers: map[string]string{"Authorization": "Bearer routed"}}
		}
	}
	r.append(3, "consent.advanced")
	r.run(relay)
	r.confirmed()
	requests := h.requests()
	if len(requests) != 1 {
		t.Errorf("got %d requests, want one: all are routed alike", len(requests))
	}
	for _, a := range requests {
		if a.line != "PUT /x" || a.header.Get("Authorization") != "Bearer routed" || len(a.elements(t)) != 3 {
			t.Errorf("got %s with %v", a.line, a.header)
		}
	}
}

// TestC31LargePosted: an endpoint gets what NATS would not; what Sequin drops
// without a word goes before a person.
func TestC31LargePosted(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	run := r.post()
	for _, size := range []int{10, 3 << 20, 5 << 20, 20} {
		r.pg.Exec(sqlAppendSized, size)
	}
	r.confirmed()
	run.stop()
	if got := h.count(); got != 3 {
		t.Errorf("got %d at the endpoint, want 3", got)
	}
	all := r.parked()
	if len(all) != 1 || all[0].Reason != string(event.TooLarge) || len(h.taken()[all[0].Key]) > 0 {
		t.Errorf("got %+v, want the one of five megabytes", all)
	}
	if got := run.Stats().Parked; got != 1 {
		t.Errorf("got %d parked in the metric, want 1", got)
	}
}

// TestC32OrderOfAGroup: with groups, what fails is not overtaken by its own kind;
// others go on.
func TestC32OrderOfAGroup(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t, "    message_grouping: false", "    tables: [{name: event_runtime.outbox, group_column_names: [tenant_id, aggregate_type, aggregate_id]}]")
	var refused atomic.Int32
	h.answering(func(a asked) int {
		if bytes.Contains(a.body, []byte(`"m1"`)) && refused.Add(1) <= 2 {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	r.post()
	r.log.await(t, "relay.connected")
	one := func(aggregate, mark string) {
		r.pg.Exec(`select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', jsonb_build_object('m', $2::text), aggregate_type => 'consent', aggregate_id => $1::text)`, aggregate, mark)
	}
	one("a", "m1")
	r.log.await(t, "post.failed")
	one("a", "m2")
	one("b", "other")
	r.confirmed()
	var order []string
	for _, a := range h.requests() {
		for _, e := range a.elements(t) {
			m := read[struct {
				Record struct{ Payload struct{ M string } }
			}](t, e).Record.Payload.M
			if a.status == http.StatusOK {
				order = append(order, m)
			}
		}
	}
	if got := strings.Join(order, " "); got != "other m1 m2" {
		t.Errorf("got %q, want other m1 m2", got)
	}
}

// TestC37NoGroups: a table listed without columns is not grouped: rows of one
// aggregate travel together.
func TestC37NoGroups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tables  string
		atATime int
	}{
		"listed without columns": {"    tables: [{name: event_runtime.outbox}]", 6},
		"grouped by a column":    {"    tables: [{name: event_runtime.outbox, group_column_names: [tenant_id]}]", 1},
		"each row its own group": {"    message_grouping: true", 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, h := hookRig(t, "    message_grouping: false", c.tables)
			r.append(6, "consent.advanced")
			r.post()
			h.wantTaken(r)
			r.confirmed()
			for _, a := range h.requests() {
				if n := len(a.elements(t)); n > c.atATime {
					t.Errorf("got %d in a request, want at most %d", n, c.atATime)
				}
			}
			if c.atATime > 1 && len(h.requests()) >= 6 {
				t.Errorf("got %d requests, want rows to travel together", len(h.requests()))
			}
		})
	}
}

// TestC19TransformPosted: the endpoint gets what the path leads to.
func TestC19TransformPosted(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t, "    message_grouping: false", "    transform: pick\n    message_grouping: false",
		"http_endpoints:", "functions: [{name: pick, type: path, path: record.payload}]\nhttp_endpoints:")
	r.append(1, "consent.advanced")
	r.post()
	r.confirmed()
	if got := string(h.requests()[0].body); got != `{"data":[{"n":1}]}` {
		t.Errorf("got %s", got)
	}
}

// TestEndpointDown: while the endpoint is down the slot stays, in and between
// processes, memory is bounded, and afterwards nothing is missing.
func TestEndpointDown(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	r.cfg.Window, r.cfg.DrainFor = 60, 100*time.Millisecond
	h.answering(always(http.StatusBadGateway))
	run := r.post()
	r.append(100, "consent.advanced")
	behind := r.here()
	r.append(100, "interaction.completed")
	r.log.await(t, "post.failed")
	run.stop()
	r.notReached(behind)
	run = r.post()
	await(t, "failures", func() bool { return run.Stats().Failed > 0 })
	await(t, "the reason", func() bool { return run.Ready() == "the endpoint does not take messages: "+post.Failing })
	r.notReached(behind)
	different := map[string]bool{}
	for _, e := range elementsOf(t, h.requests()) {
		different[eventOf(t, e)] = true
	}
	if len(different) > 60 {
		t.Errorf("got %d messages on the way, want at most 60", len(different))
	}
	h.answering(nil)
	h.wantTaken(r)
	r.confirmed()
	await(t, "readiness", func() bool { return run.Ready() == "" })
}

// TestPoisonRow: a row that the endpoint never takes holds the slot, as in Sequin,
// and no other row.
func TestPoisonRow(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	h.answering(func(a asked) int {
		if bytes.Contains(a.body, []byte(`"poison"`)) {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	r.append(5, "consent.advanced")
	r.pg.Exec(`select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{"is": "poison"}')`)
	behind := r.here()
	r.append(5, "consent.advanced")
	run := r.post()
	await(t, "every other row", func() bool { return h.count() == 10 })
	r.append(500, "consent.advanced")
	await(t, "rows behind it", func() bool { return h.count() == 510 })
	r.notReached(behind)
	run.stop()
	r.notReached(behind)
	h.answering(nil) // it is mended
	r.post()
	h.wantTaken(r)
	r.confirmed()
}

// TestC33KilledAfterAnswer: what was answered and not confirmed comes again, the
// same to the last byte.
func TestC33KilledAfterAnswer(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	r.append(40, "consent.advanced")
	first := r.child()
	var once sync.Once
	h.answering(func(asked) int { // it is taken, and the relay will never hear of it
		once.Do(first.Kill)
		return http.StatusOK
	})
	await(t, "the first request", func() bool { return h.count() > 0 })
	after := r.child()
	h.wantTaken(r)
	r.confirmed()
	after.Signal(syscall.SIGTERM)
	after.ExitedWith(0)
	twice := 0
	for id, all := range h.taken() {
		for _, e := range all[1:] {
			twice++
			if !bytes.Equal(e, all[0]) {
				t.Errorf("event %s came as\n%s\nand as\n%s", id, all[0], e)
			}
		}
	}
	if twice == 0 {
		t.Error("nothing came twice: the kill came too late to show anything")
	}
}

// TestBridgeFileUnchanged: the shipped file runs in a process of its own, with
// what it names in the environment, and without NATS.
func TestBridgeFileUnchanged(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	r.cfg.File = "../../sequin/sequin.bridge.yaml"
	child := r.child("BRIDGE_URL="+h.URL, "BRIDGE_TOKEN=from-the-environment")
	child.Line("relay.connected")
	r.append(120, "consent.advanced")
	h.wantTaken(r)
	r.confirmed()
	for _, a := range h.requests() {
		if a.line != "POST /sequin/outbox" || !reflect.DeepEqual(a.header["Authorization"], []string{"Bearer from-the-environment"}) {
			t.Errorf("got %s with %v", a.line, a.header)
		}
	}
	child.Signal(syscall.SIGTERM)
	child.ExitedWith(0)
}

// TestTakingTurns: two processes on one slot, each of them killed or stopped in
// the middle of its turn; whoever has the slot posts, and nothing is missing.
func TestTakingTurns(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	works := r.child()
	works.Line("relay.connected")
	for turn := range 4 {
		waits := r.child()
		waits.Line("relay.stood_by")
		seen := h.count()
		r.append(300, "consent.advanced")
		await(t, "progress of the one that works", func() bool { return h.count() > seen })
		if strings.Contains(waits.Log(), "relay.connected") {
			t.Fatal("both work")
		}
		if turn%2 == 0 {
			works.Kill()
		} else {
			works.Signal(syscall.SIGTERM)
			works.ExitedWith(0)
		}
		works = waits
		works.Line("relay.connected")
	}
	h.wantTaken(r)
	r.confirmed()
	works.Signal(syscall.SIGTERM)
	works.ExitedWith(0)
}

// TestHandOverFromSequin: Sequin confirms the position of the last commit record,
// not the end of it, so the last transaction comes again; and what it has not
// confirmed comes to us.
func TestHandOverFromSequin(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	plan, err := r.cfg.plan()
	if err != nil {
		t.Fatal(err)
	}
	r.append(3, "consent.advanced") // Sequin delivers these
	theirs := r.outboxIDs()
	sequin, err := openFeed(t.Context(), r.cfg.DatabaseURL, plan, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	final := finalLSN(t, sequin)
	r.post()
	r.log.await(t, "relay.stood_by") // 55006
	if err := sequin.confirm(final, time.Now()); err != nil {
		t.Fatal(err)
	}
	r.append(4, "consent.advanced") // and dies before these
	sequin.finish()
	sequin.close()
	h.wantTaken(r)
	r.confirmed()
	got := h.taken()
	for _, id := range theirs {
		if len(got[id.String()]) != 1 {
			t.Errorf("event %s came %d times to us, want once: the last transaction comes again", id, len(got[id.String()]))
		}
	}
	if len(got) != 7 {
		t.Errorf("got %d events, want 7", len(got))
	}
}

// finalLSN reads the position of the first commit record of a stream.
func finalLSN(t *testing.T, f *feed) uint64 {
	t.Helper()
	_ = f.conn.SetReadDeadline(time.Now().Add(patience))
	var m pgoutput.Message
	for {
		kind, body, err := f.frames.next()
		if err != nil {
			t.Fatal(err)
		}
		if kind != 'd' || body[0] != 'w' {
			continue
		}
		if err := pgoutput.Decode(body[xlogHead:], &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind == pgoutput.Commit {
			return m.LSN
		}
	}
}
