package relay

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

func next(t *testing.T, wire <-chan *nats.Msg) map[string]any {
	t.Helper()
	select {
	case m := <-wire:
		return read[map[string]any](t, m.Data)
	case <-time.After(patience):
		t.Fatal("no message")
		return nil
	}
}

// TestOtherTablesCount is C8: changes of every published table use up a number,
// also those that the sink does not want.
func TestOtherTablesCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pg.Exec(`create table public.other (id int primary key)`)
	r.pg.Exec(`alter publication runtime_outbox_pub add table public.other`)
	r.pg.Exec(`alter publication runtime_outbox_pub set (publish = 'insert, update, delete, truncate')`)
	wire := r.overhear()
	r.start()
	for name, c := range map[string]struct {
		first string
		idx   string
	}{
		"a row of another table":   {`insert into public.other values (1)`, "1"},
		"an update and a delete":   {`update public.other set id = 2; delete from public.other`, "2"},
		"a truncate":               {`truncate public.other`, "1"},
		"a message in between":     {`select pg_logical_emit_message(true, 'somebody', 'x')`, "1"},
		"one outside transactions": {`select pg_logical_emit_message(false, 'somebody', 'x')`, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := r.pg.Conn(testenv.Superuser).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if name == "an update and a delete" {
				r.pg.Exec(`insert into public.other values (1) on conflict do nothing`)
			}
			for _, sql := range []string{c.first, `select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{}')`} {
				if _, err := tx.Conn().PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			body := next(t, wire)
			if got := meta(body)["commit_idx"]; got.(interface{ String() string }).String() != c.idx {
				t.Errorf("got idx %v, want %v", got, c.idx)
			}
			if name == "a row of another table" {
				r.pg.Exec(`delete from public.other`)
			}
		})
	}
}

// TestDaysDroppedBeforeTheyAreRead is the rest of C12: the log outlives the table.
func TestDaysDroppedBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(3, "consent.advanced")
	ids := r.outboxIDs()
	day := ids[0].Day().Format("20060102")
	r.pg.Exec(`alter table event_runtime.outbox detach partition event_runtime.outbox_` + day)
	r.pg.Exec(`drop table event_runtime.outbox_` + day)
	wire := r.overhear()
	r.start()
	for range ids {
		body := next(t, wire)
		record := body["record"].(map[string]any)
		if got, want := meta(body)["record_pks"], []any{"acme-bank", ids[0].Day().Format(time.DateOnly), record["event_id"]}; !reflect.DeepEqual(got, want) {
			t.Errorf("got record_pks %v, want %v", got, want)
		}
		if got := meta(body)["table_name"]; got != "outbox" {
			t.Errorf("got table %v, want the root", got)
		}
	}
	r.stored(len(ids))
}

// TestNoStream is C30: what no stream takes is not delivered, and the slot waits.
func TestNoStream(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t))
	r.makeSlot()
	run := r.start()
	r.log.await(t, "relay.connected")
	r.append(5, "consent.advanced")
	behind := r.here()
	r.append(5, "interaction.completed")
	await(t, "ten failures", func() bool { return run.Stats().Failed >= 10 })
	await(t, "a second try", func() bool { return run.Stats().Failed > 10 })
	if got, want := run.Ready(), "messages are not stored: "+noStream; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.notReached(behind)
	r.provision()
	r.wantAll(10)
	r.confirmed()
	await(t, "readiness", func() bool { return run.Ready() == "" })
	if lines, _ := r.log.with("publish.failed"); len(lines) != 1 {
		t.Errorf("got %d lines about it, want one: %q", len(lines), lines)
	}
}

// TestFullStream: a full stream refuses, and takes again when there is room. The
// slot stays in front of the oldest row that is not stored, whatever else is.
func TestFullStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.DrainFor = 100 * time.Millisecond
	js := r.nats.JetStream()
	resize := func(bytes int64) {
		s, err := js.Stream(t.Context(), transport.Events)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	resize(20_000)
	run := r.start()
	r.append(300, "consent.advanced")
	behind := r.here()
	r.append(300, "interaction.completed") // goes on meanwhile
	r.log.await(t, streamFull)
	await(t, "the other stream", func() bool { return r.count() >= 300 })
	run.stop() // with its last word about the slot
	r.notReached(behind)
	run = r.start()
	resize(1 << 30)
	r.wantAll(600)
	r.confirmed()
	if got := run.Stats().Parked; got != 0 {
		t.Errorf("got %d parked, want none", got)
	}
}

// TestWindowBounds: without an answer no more messages are sent than the window
// holds, though the same ones again.
func TestWindowBounds(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t)) // without streams
	r.makeSlot()
	r.cfg.Window, r.cfg.AckTimeout, r.cfg.DrainFor = 3, 200*time.Millisecond, 0
	r.append(10, "consent.advanced")
	wire := r.overhear()
	r.start()
	times := map[any]int{}
	for len(times) < 3 || slices.Min(slices.Collect(maps.Values(times))) < 2 {
		times[next(t, wire)["record"].(map[string]any)["event_id"]]++
	}
	if len(times) != 3 {
		t.Errorf("got %d messages on the way, want 3", len(times))
	}
	r.provision()
	r.wantAll(10)
	r.confirmed()
}

// TestIdle: a database in which nothing happens for us lets the slot go on, and
// so does one in which a lot happens that is not ours.
func TestIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.log.await(t, "relay.connected")
	r.pg.Exec(`create table public.noise as select g, repeat('x', 1000) from generate_series(1, 5000) g`)
	r.confirmed()
}

// TestWindowOfOne: bounds hold a large transaction up, and nothing else.
func TestWindowOfOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Window, r.cfg.WindowBytes = 1, 1<<16
	r.start()
	r.append(200, "consent.advanced")
	r.pg.Exec(`select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', jsonb_build_object('x', repeat('y', 60000))) from generate_series(1, 20)`)
	r.wantAll(220)
	r.confirmed()
}

// TestStoredMessage: the stream puts the partition in front, and
// nothing else is changed.
func TestStoredMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.append(1, "consent.advanced")
	r.wantAll(1)
	s, err := r.nats.JetStream().Stream(t.Context(), transport.Events)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(m.Subject, "p.") || !strings.HasSuffix(m.Subject, ".events.acme-bank.ofb.consent.advanced") {
		t.Errorf("got subject %s", m.Subject)
	}
	if got, want := m.Header.Get(headerMsgID), r.outboxIDs()[0].String(); got != want {
		t.Errorf("got %s %s, want %s", headerMsgID, got, want)
	}
}
