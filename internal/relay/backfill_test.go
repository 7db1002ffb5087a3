package relay

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/google/uuid"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
)

// capturedBackfill is the backfill of the captures: its id is in every key.
var capturedBackfill = uuid.MustParse("e767a2e0-a617-4c54-9f58-f313827be853")

func (r *rig) backfill(id uuid.UUID, table string) {
	r.t.Helper()
	if _, err := RequestBackfill(r.t.Context(), r.cfg, id, table); err != nil {
		r.t.Fatal(err)
	}
}

// TestC17Backfill compares a backfill with the one that Sequin made of the same
// rows, over NATS and over HTTP.
func TestC17Backfill(t *testing.T) {
	t.Parallel()
	want := map[string]captured{}
	for line := range strings.Lines(file(t, "testdata/outbox/backfill.jsonl")) {
		c := read[captured](t, []byte(line))
		want[eventOf(t, c.Body)] = c
	}
	run := func(t *testing.T, r *rig) {
		t.Helper()
		conn := r.pg.Conn(testenv.Superuser)
		for _, s := range readSteps(t) {
			if s.name != longStep { // those rows were gone when Sequin read the table
				s.run(t, conn)
			}
		}
		r.confirmed()
		r.backfill(capturedBackfill, "")
		r.log.await(t, "backfill.completed")
		r.confirmed()
	}
	t.Run("over NATS", func(t *testing.T) {
		t.Parallel()
		r := captureRig(t)
		r.provision()
		wire := r.overhear()
		relay := r.start()
		run(t, r)
		stored := r.count()
		got := map[string]*nats.Msg{}
		for n := len(wire); n > 0; n-- {
			if m := <-wire; read[map[string]any](t, m.Data)["action"] == "read" {
				got[eventOf(t, m.Data)] = m
			}
		}
		if len(got) != len(want) || relay.Stats().Read != int64(len(want)) {
			t.Errorf("got %d rows read, and %+v, want %d", len(got), relay.Stats(), len(want))
		}
		for id, w := range want {
			m := got[id]
			if m == nil {
				t.Errorf("event %s was not read", id)
				continue
			}
			if m.Subject != w.Subject || !slices.Equal(headerLines(m.Header), wantLines(w.Header)) {
				t.Errorf("got %s %v, want %s %q", m.Subject, m.Header, w.Subject, w.Header)
			}
			compareRead(t, m.Data, w.Body, capturedBackfill)
		}
		// Their inserts were stored before: JetStream drops the reads by their ids.
		if got := relay.Stats(); got.Duplicate < int64(len(want)) || int64(stored) != got.Stored {
			t.Errorf("got %+v and %d in the streams, want every read dropped as a duplicate", got, stored)
		}
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		r, h := hookRigOn(t, testenv.Cluster(t, testenv.Raw()))
		for _, sql := range statements(file(t, "testdata/outbox/schema.sql")) {
			r.pg.Exec(sql)
		}
		r.post()
		run(t, r)
		got := map[string]json.RawMessage{}
		for _, a := range h.requests() {
			for _, e := range a.elements(t) {
				if read[map[string]any](t, e)["action"] == "read" {
					got[eventOf(t, e)] = e
				}
			}
		}
		n := 0
		for step, requests := range readRequests(t) {
			for _, c := range requests {
				for _, w := range c.Body.Data {
					if strings.HasPrefix(step, backfillStep) {
						n++
						compareRead(t, got[eventOf(t, w)], w, capturedBackfill)
					}
				}
			}
		}
		if len(got) != n || n != len(want) {
			t.Errorf("got %d rows read, want %d", len(got), n)
		}
	})
}

// compareRead also holds the key to its rule: Sequin's own where the backfill is
// the same, which it is over NATS.
func compareRead(t *testing.T, got, want []byte, id uuid.UUID) {
	t.Helper()
	if got == nil {
		t.Errorf("%s was not read", eventOf(t, want))
		return
	}
	want = longAgain(want)
	compareBodies(t, "backfill", got, want)
	body, theirs := read[map[string]any](t, got), read[map[string]any](t, want)
	md := meta(body)
	plain := id.String()
	for _, pk := range md["record_pks"].([]any) {
		plain += ":" + pk.(string)
	}
	if got, want := md["idempotency_key"], base64.StdEncoding.EncodeToString([]byte(plain)); got != want {
		t.Errorf("got key %v, want %v", got, want)
	}
	if key, _ := base64.StdEncoding.DecodeString(meta(theirs)["idempotency_key"].(string)); strings.HasPrefix(string(key), id.String()) && md["idempotency_key"] != meta(theirs)["idempotency_key"] {
		t.Errorf("got key %v, Sequin's is %v", md["idempotency_key"], meta(theirs)["idempotency_key"])
	}
	if md["commit_lsn"] != nil || md["commit_idx"] != nil || body["changes"] != nil {
		t.Errorf("got a place in the log: %v", md)
	}
	at, err := time.Parse("2006-01-02T15:04:05.000000Z", md["commit_timestamp"].(string))
	if err != nil || time.Since(at).Abs() > time.Hour {
		t.Errorf("got commit_timestamp %v: %v", md["commit_timestamp"], err)
	}
}

// TestC18ChangedWhileRead: of a row that changes while it is read, the change is
// sent and no older state.
func TestC18ChangedWhileRead(t *testing.T) {
	t.Parallel()
	r := defaultsRig(t, defaultsFile)
	const insert = `insert into event_runtime.outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, payload)
		select 'acme-bank', '2026-11-20', ('01a1f8d3-ea40-7000-8000-00000000000' || g)::uuid, 'ofb', 'consent.advanced', 1, now(), '{}' from generate_series(1, 5) g`
	r.pg.Exec(insert)
	r.start()
	r.confirmed()
	wire := r.overhear("sequin.>")
	// The request and the changes lie in the log before the relay comes to them: it
	// reads the page first, and then hears of the changes.
	holder := r.pg.Conn(testenv.Superuser)
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(marker{Backfill: capturedBackfill, Sink: "defaults", Table: "event_runtime.outbox"})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`select pg_logical_emit_message(true, '` + backfillRequest + `', '` + string(request) + `')`,
		`update event_runtime.outbox set source = 'changed' where event_id::text like '%2'`,
		`delete from event_runtime.outbox where event_id::text like '%3'`,
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, "backfill.completed")
	r.confirmed()
	actions := map[string]string{}
	for n := len(wire); n > 0; n-- {
		body := read[map[string]any](t, (<-wire).Data)
		id := body["record"].(map[string]any)["event_id"].(string)
		actions[id[len(id)-1:]] += body["action"].(string) + " "
	}
	if want := map[string]string{"1": "read ", "2": "update ", "3": "delete ", "4": "read ", "5": "read "}; !reflect.DeepEqual(actions, want) {
		t.Errorf("got %v, want %v", actions, want)
	}
}

// TestBackfillTakenOver: a relay that is killed in the middle of a backfill leaves
// the rest of it to the next one, which finds it in the log.
func TestBackfillTakenOver(t *testing.T) {
	t.Parallel()
	const rows = 6 * pageRows
	r, h := hookRigOn(t, testenv.Cluster(t))
	r.append(rows, "consent.advanced")
	r.makeSlot() // too young for them
	first := r.child()
	first.Line("relay.connected")
	var once sync.Once
	h.answering(func(asked) int {
		if len(h.all) > 2*pageRows/50 {
			once.Do(first.Kill)
		}
		return http.StatusOK
	})
	r.backfill(capturedBackfill, "")
	await(t, "some of it", func() bool { return h.count() > 2*pageRows })
	after := r.child()
	after.Line("backfill.completed")
	h.wantTaken(r)
	r.confirmed()
	got := h.taken()
	if len(got) != rows {
		t.Errorf("got %d rows, want %d", len(got), rows)
	}
	for id, all := range got {
		for _, e := range all {
			body := read[map[string]any](t, e)
			if body["action"] != "read" {
				t.Fatalf("got %v of %s", body["action"], id)
			}
			if first := read[map[string]any](t, all[0]); meta(body)["idempotency_key"] != meta(first)["idempotency_key"] {
				t.Errorf("event %s came under two keys", id)
			}
		}
	}
	again := 0
	for _, all := range got {
		again += len(all) - 1
	}
	if again > 3*pageRows {
		t.Errorf("got %d rows again, want only what was under way", again)
	}
	after.Signal(syscall.SIGTERM)
	after.ExitedWith(0)
}

// TestBackfillGoesOnWithChanges: rows that are written meanwhile travel too, and
// the slot is not kept longer than a page.
func TestBackfillGoesOnWithChanges(t *testing.T) {
	t.Parallel()
	r, h := hookRigOn(t, testenv.Cluster(t))
	r.append(5*pageRows, "consent.advanced")
	r.makeSlot()
	run := r.post()
	r.backfill(uuid.New(), "event_runtime.outbox")
	for range 20 {
		r.append(7, "interaction.completed")
	}
	r.log.await(t, "backfill.completed")
	h.wantTaken(r)
	r.confirmed()
	if got := run.Stats().Read; got < 5*pageRows {
		t.Errorf("got %d rows read, want at least %d", got, 5*pageRows)
	}
}

// TestBackfillHopeless: what cannot be read is said, and holds nothing up.
func TestBackfillHopeless(t *testing.T) {
	t.Parallel()
	r, h := hookRig(t)
	r.post()
	r.log.await(t, "relay.connected")
	for name, m := range map[string]marker{
		"no such table":     {Table: "event_runtime.nothing"},
		"not of the sink":   {Table: "event_runtime.quarantine"},
		"no right to it":    {Table: "event_runtime.audit_ledger"},
		"of nobody's sink":  {Table: "event_runtime.outbox", Sink: "another"},
		"a key of no value": {Table: "event_runtime.outbox", After: []string{"acme-bank", "no day", "no id"}},
	} {
		m.Backfill = uuid.New()
		if m.Sink == "" {
			m.Sink = "outbox-bridge"
		}
		content, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		r.pg.Exec(`select pg_logical_emit_message(true, '` + backfillRequest + `', '` + string(content) + `')`)
		if m.Sink == "another" {
			r.log.await(t, "backfill.ignored")
		} else {
			await(t, "the word about "+name, func() bool {
				lines, _ := r.log.with(m.Backfill.String())
				return len(lines) == 1 && strings.Contains(lines[0], "backfill.failed")
			})
		}
	}
	r.append(3, "consent.advanced")
	h.wantTaken(r)
	r.confirmed()
	if n, _ := r.log.with("relay.interrupted"); len(n) > 0 {
		t.Errorf("got %q", n)
	}
}

// TestRequestBackfill: what would never be answered is refused at once.
func TestRequestBackfill(t *testing.T) {
	t.Parallel()
	r, _ := hookRigOn(t, testenv.Cluster(t))
	ask := func(table, want string) {
		t.Helper()
		if _, err := RequestBackfill(t.Context(), r.cfg, uuid.New(), table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", table, err, want)
		}
	}
	ask("", "does not exist: run `event-runtime migrate`")
	r.makeSlot()
	ask("nothing", "there is no table public.nothing")
	ask("event_runtime.quarantine", "does not take the rows")
	r.pg.Exec(`create table public.keyless (a int)`)
	ask("keyless", "no primary key")

	// Another program holds the slot.
	cfg, err := pgconn.ParseConfig(r.cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["replication"], cfg.RuntimeParams["application_name"] = "database", "sequin"
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	plan, err := r.cfg.plan()
	if err != nil {
		t.Fatal(err)
	}
	options := pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", plan.publication)}}
	if err := pglogrepl.StartReplication(t.Context(), conn, plan.slot, 0, options); err != nil {
		t.Fatal(err)
	}
	ask("", `held by "sequin"`)
}

// TestBackfillTypes: what a backfill reads looks as what the slot streams,
// whatever the settings of the database are.
func TestBackfillTypes(t *testing.T) {
	t.Parallel()
	r := defaultsRig(t, strings.ReplaceAll(defaultsFile, "event_runtime.outbox", "kinds"))
	r.cfg.DatabaseURL = r.pg.URL(testenv.Superuser)
	for _, sql := range []string{
		`create table public.kinds (id int, at timestamptz, b bytea, f float8, n numeric, i interval, d date, j json, a text[], none text, primary key (id))`,
		`alter publication runtime_all_pub add table public.kinds`,
		`alter database postgres set timezone = 'Asia/Tokyo'`, `alter database postgres set datestyle = 'German'`, `alter database postgres set intervalstyle = 'iso_8601'`,
		`alter database postgres set bytea_output = 'escape'`, `alter database postgres set extra_float_digits = -5`,
		`insert into public.kinds select g, '2026-11-20 12:00:00.5+05:30', '\xdeadbeef', 0.1, 199.990, '1 day 2 hours', '2026-11-20', '{"a": 1e3}', '{a,"b c",NULL}', null from generate_series(1, 3) g`,
	} {
		r.pg.Exec(sql)
	}
	wire := r.overhear("sequin.>")
	r.start()
	records := map[string]map[string]any{"insert": {}, "read": {}}
	collect := func() {
		for n := len(wire); n > 0; n-- {
			body := read[map[string]any](t, (<-wire).Data)
			record := body["record"].(map[string]any)
			records[body["action"].(string)][fmt.Sprint(record["id"])] = record
		}
	}
	r.confirmed()
	r.backfill(uuid.New(), "")
	r.log.await(t, "backfill.completed")
	r.confirmed()
	collect()
	if len(records["read"]) != 3 || !reflect.DeepEqual(records["read"], records["insert"]) {
		t.Errorf("got\n%v\nwant what the slot streamed\n%v", records["read"], records["insert"])
	}
}
