package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/sequin"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// defaultsFile is a sink with nothing set but its destination, as the capture
// had it.
const defaultsFile = `
databases:
  - name: runtime_all
    hostname: 127.0.0.1
    database: runtime
    slot: {name: runtime_all_slot}
    publication: {name: runtime_all_pub}
sinks:
  - name: defaults
    database: runtime_all
    source: {include_tables: [event_runtime.outbox]}
    destination: {type: nats, host: localhost, port: 4222}
`

// defaultsRig has the schema of the capture, with every change published, and a
// stream for what a sink without a routing function sends.
func defaultsRig(t *testing.T, text string) *rig {
	t.Helper()
	r := captureRig(t)
	for _, sql := range []string{
		`create table event_runtime.note (id int primary key)`,
		`select event_runtime.add_day('2026-11-21')`,
		`create publication runtime_all_pub for table event_runtime.outbox, event_runtime.note with (publish_via_partition_root = true)`,
		`select pg_create_logical_replication_slot('runtime_all_slot', 'pgoutput')`,
		`select pg_drop_replication_slot('runtime_outbox_slot')`,
	} {
		r.pg.Exec(sql)
	}
	r.cfg.File = filepath.Join(t.TempDir(), "sequin.yaml")
	if err := os.WriteFile(r.cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.nats.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "ALL", Subjects: []string{"sequin.>"}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDefaultCaptures is C4, C8 and C14 to C16: updates and deletes with and
// without the row before, values that are not in the log, truncates, and the
// subject and id that Sequin gives by itself.
func TestDefaultCaptures(t *testing.T) {
	t.Parallel()
	r := defaultsRig(t, defaultsFile)
	want := map[string][]captured{}
	for line := range strings.Lines(file(t, "testdata/outbox/defaults.jsonl")) {
		c := read[captured](t, []byte(line))
		want[c.Step] = append(want[c.Step], c)
	}
	wire := r.overhear("sequin.>")
	r.start()
	conn := r.pg.Conn(testenv.Superuser)
	got := map[string][]*nats.Msg{}
	for _, s := range scriptSteps(t, "testdata/outbox/defaults.sql") {
		s.run(t, conn)
		for range want[s.name] {
			got[s.name] = append(got[s.name], nextMsg(t, wire))
		}
	}
	r.confirmed()
	if n := len(wire); n > 0 {
		t.Errorf("got %d messages more than Sequin sent", n)
	}
	compared := map[string]bool{}
	for name, steps := range map[string][]string{
		"C4 no routing function":                 {"C14 toast row insert"},
		"C8 another published table":             {"C8 another published table first", "truncate counts"},
		"C13 truncate of a partition":            {"truncate of the outbox itself"},
		"C14 update, default identity":           {"C14 update, default identity"},
		"C15 update, identity full on the leaf":  {"C15 update, identity full on the leaf"},
		"C15 update, identity full on both":      {"C15 identity full on root and leaf: insert", "C15 update"},
		"C16 delete, default identity":           {"C16 delete, default identity"},
		"C16 delete, identity full":              {"C16 delete full"},
		"D13 an update that moves a row by days": {"row moved to another day by an update"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range steps {
				compared[step] = true
				compareDefaults(t, step, got[step], want[step])
			}
		})
	}
	for step := range want {
		if !compared[step] {
			t.Errorf("step %q is not among the cases", step)
		}
	}
}

func nextMsg(t *testing.T, wire <-chan *nats.Msg) *nats.Msg {
	t.Helper()
	select {
	case m := <-wire:
		return m
	case <-time.After(patience):
		t.Fatal("no message")
		return nil
	}
}

// compareDefaults goes by the number in the transaction: the id of a header is
// the idempotency key.
func compareDefaults(t *testing.T, step string, got []*nats.Msg, want []captured) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("step %q: got %d messages, want %d", step, len(got), len(want))
	}
	for i, w := range want {
		m := got[i]
		body := read[map[string]any](t, m.Data)
		checkConsumer(t, body, "defaults")
		if m.Subject != w.Subject {
			t.Errorf("step %q: got subject %q, want %q", step, m.Subject, w.Subject)
		}
		if len(m.Header) != 1 || m.Header.Get(headerMsgID) != meta(body)["idempotency_key"] {
			t.Errorf("step %q: got headers %v, want the idempotency key and nothing else", step, m.Header)
		}
		compareBodies(t, step, m.Data, w.Body)
	}
}

// TestC19Transform: the message is what the path leads to, and its headers stay.
func TestC19Transform(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.File = shippedWith(t, "    routing: outbox-subject", "    routing: outbox-subject\n    transform: pick", "functions:\n", "functions:\n  - {name: pick, type: path, path: record.payload}\n")
	wire := r.overhear()
	r.start()
	r.append(1, "consent.advanced")
	m := nextMsg(t, wire)
	id := r.outboxIDs()[0].String()
	if string(m.Data) != `{"n":1}` || m.Header.Get(headerMsgID) != id || m.Subject != "events.acme-bank.ofb.consent.advanced" {
		t.Errorf("got %s on %s with %v", m.Data, m.Subject, m.Header)
	}
	r.wantAll(1)
	// What is too large without the transform is none of its business; what is too
	// large with it is parked under its name.
	r.pg.Exec(sqlAppendSized, 1200<<10)
	r.stored(2)
	r.confirmed()
	if n := len(r.parked()); n != 0 {
		t.Errorf("got %d parked, want none", n)
	}
}

// TestC27BadSubject: what a routing function may not give is not published. Sequin
// tries for ever; here it goes before a person, and keeps nothing back.
func TestC27BadSubject(t *testing.T) {
	t.Parallel()
	for subject, ok := range map[string]bool{
		"events.a.b.c": true, "events.*.b": false, "events.>": false, "events..b": false, "events.": false, "": false, ".a": false,
		"events.a b": false, "events.a\r\nb": false, "sequin.d.s-2.t.dots.insert": true,
	} {
		if got := publishable([]byte(subject)); got != ok {
			t.Errorf("%q: got %v, want %v", subject, got, ok)
		}
	}
	r := newRig(t)
	relay := r.made(r.connect())
	relay.plan.route = badRoutes
	r.run(relay)
	r.append(3, "consent.advanced") // *, too long, and a good one
	r.confirmed()
	if got := r.count(); got != 1 {
		t.Errorf("got %d in the streams, want 1", got)
	}
	all := r.parked()
	if len(all) != 2 || all[0].Reason != "schema_invalid" || all[1].Reason != "schema_invalid" {
		t.Errorf("got %+v, want two with a subject that is none", all)
	}
}

// TestC29TwoSinksOneStream: the default id is the same for every sink, so that a
// stream keeps the message of the first only.
func TestC29TwoSinksOneStream(t *testing.T) {
	t.Parallel()
	r := defaultsRig(t, defaultsFile)
	r.start()
	second := *r
	second.log = &logBook{more: make(chan struct{})}
	second.cfg.File = filepath.Join(t.TempDir(), "second.yaml")
	text := strings.NewReplacer("name: defaults", "name: second", "runtime_all_slot", "second_slot").Replace(defaultsFile)
	if err := os.WriteFile(second.cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.pg.Exec(`select pg_create_logical_replication_slot('second_slot', 'pgoutput')`)
	run := second.start()
	r.pg.Exec(`insert into event_runtime.outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, payload)
		values ('acme-bank', '2026-11-20', gen_random_uuid(), 'ofb', 'consent.advanced', 1, now(), '{}')`)
	first := r.log
	first.await(t, "relay.connected")
	await(t, "both to have sent it", func() bool {
		s, err := r.nats.JetStream().Stream(t.Context(), "ALL")
		return err == nil && s.CachedInfo().State.Msgs == 1 && run.Stats().Stored+run.Stats().Duplicate == 1
	})
	r.confirmed()
	s, err := r.nats.JetStream().Stream(t.Context(), "ALL")
	if err != nil || s.CachedInfo().State.Msgs != 1 {
		t.Errorf("got %v, want one message", err)
	}
}

// TestLargeUpdate: of an update that is too large to be read as a whole it is
// known which row it was, and nothing else is held up.
func TestLargeUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const id = "01a1f8d3-ea30-7000-8000-000000000001"
	for _, sql := range []string{
		`create table public.big (tenant_id text, recorded_on date, event_id uuid primary key, txt text)`,
		`alter publication runtime_outbox_pub add table public.big`,
		`alter publication runtime_outbox_pub set (publish = 'insert, update, delete')`,
	} {
		r.pg.Exec(sql)
	}
	text := strings.NewReplacer("event_runtime.outbox", "big", "runtime_all_slot", "runtime_outbox_slot", "runtime_all_pub", "runtime_outbox_pub").Replace(defaultsFile)
	r.cfg.File = filepath.Join(t.TempDir(), "sequin.yaml")
	if err := os.WriteFile(r.cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	js := r.nats.JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ALL", Subjects: []string{"sequin.>"}}); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.pg.Exec(`insert into public.big values ('acme-bank', '2026-11-20', $1::uuid, 'x')`, id)
	r.pg.Exec(`update public.big set txt = repeat('x', 5000000)`)
	r.pg.Exec(`delete from public.big`)
	r.confirmed()
	all := r.parked()
	if len(all) != 1 || all[0].ID.String() != id || !strings.HasSuffix(all[0].Subject, ".big.update") || !strings.Contains(all[0].Detail, "a row of more than") {
		t.Errorf("got %+v, want the update", all)
	}
	s, err := js.Stream(t.Context(), "ALL")
	if err != nil || s.CachedInfo().State.Msgs != 2 {
		t.Errorf("got %v, want the insert and the delete", err)
	}
}

// shippedWith is the shipped file with changes.
func shippedWith(t *testing.T, changes ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sequin.yaml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(changes...).Replace(string(sequin.NATS))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// badRoutes gives the first row a wildcard, the second a subject that is too
// long, and every other one a good subject.
func badRoutes(columns []string) route.Router {
	good, _ := route.Lookup("outbox-subject")
	router, n := good(columns), 0
	return func(to *route.Routed, row route.Row) {
		router(to, row)
		switch n++; n {
		case 1:
			to.Subject = append(to.Subject[:0], "events.acme-bank.*"...)
		case 2:
			to.Subject = append(to.Subject[:0], "events."+strings.Repeat("x", 249)...)
		}
	}
}
