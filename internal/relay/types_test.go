package relay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/sequin"
)

// TestTypes compares columns of every kind with what Sequin made of them.
func TestTypes(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t, testenv.Raw()))
	r.provision()
	r.cfg.DatabaseURL = r.pg.URL(testenv.Superuser)
	r.cfg.File = filepath.Join(t.TempDir(), "sequin.yaml")
	text := strings.NewReplacer("[event_runtime.outbox]", "[types_demo, public.ed_odd, domains]", "runtime_outbox_pub", "types_pub", "runtime_outbox_slot", "types_slot").Replace(string(sequin.NATS))
	if err := os.WriteFile(r.cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	script := statements(file(t, "testdata/types/rows.sql"))
	conn := r.pg.Conn(testenv.Superuser)
	for _, sql := range append(script[:4:4],
		`create domain flag as bool`, `create domain flags as flag[]`, `create domain day_flags as flags`,
		`create table domains (at timestamptz, id int, b flag, many flags, more day_flags, primary key (id, at))`,
		`create publication types_pub for table types_demo, ed_odd, domains with (publish = 'insert', publish_via_partition_root = true)`,
		`select pg_create_logical_replication_slot('types_slot', 'pgoutput')`,
		`alter database postgres set timezone = 'Asia/Tokyo'`, `alter database postgres set datestyle = 'German'`, `alter database postgres set intervalstyle = 'iso_8601'`,
		`alter database postgres set bytea_output = 'escape'`, `alter database postgres set extra_float_digits = -5`) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v in %.200s", err, sql)
		}
	}
	wire := r.overhear()
	r.start()
	type line struct {
		Table  string         `json:"table"`
		Record map[string]any `json:"record"`
	}
	var want []line
	for one := range strings.Lines(file(t, "testdata/types/records.jsonl")) {
		want = append(want, read[line](t, []byte(one)))
	}
	want = append(want, line{"domains", map[string]any{"at": "2026-11-20T12:00:00.000000Z", "id": json.Number("7"), "b": true, "many": []any{true, nil}, "more": []any{false}}})
	for _, sql := range append(script[6:], `insert into domains values ('2026-11-20 12:00:00+00', 7, true, '{t,NULL}', '{f}')`) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v in %.200s", err, sql)
		}
	}
	for _, w := range want {
		select {
		case m := <-wire:
			body := read[map[string]any](t, m.Data)
			if got := body["record"]; !reflect.DeepEqual(got, w.Record) {
				t.Errorf("%s:\n got %v\nwant %v", w.Table, got, w.Record)
			}
			if got := meta(body)["table_name"]; got != w.Table {
				t.Errorf("got table %v, want %v", got, w.Table)
			}
			if w.Table == "domains" {
				// In the order of the columns, and as Postgres printed them.
				if got, want := meta(body)["record_pks"], []any{"2026-11-20 12:00:00+00", "7"}; !reflect.DeepEqual(got, want) {
					t.Errorf("got record_pks %v, want %v", got, want)
				}
			}
			if got, want := m.Header.Get(headerMsgID), meta(body)["idempotency_key"]; got != want {
				t.Errorf("got %s %v, want %v: the table has no event_id", headerMsgID, got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no message for a row of %s", w.Table)
		}
	}
}
