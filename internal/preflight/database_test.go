package preflight

import (
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/sequin"
)

func TestStatementsFitTheSchema(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}

func shipped(t *testing.T, text []byte) *File {
	t.Helper()
	f, found, err := ReadFile(text, environ, Options{BridgeBatch: 50})
	if err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
	return f
}

// A database that the migrations made is as it must be; each thing that somebody
// changed in it is found.
func TestDatabase(t *testing.T) {
	t.Parallel()
	pg := testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "64GB"))
	if _, err := migrations.EnsureSlot(t.Context(), pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	file := shipped(t, sequin.NATS)
	conn := pg.Conn(testenv.Superuser)
	look := func() ([]Finding, []string) {
		found, facts, err := Database(t.Context(), conn, file)
		if err != nil {
			t.Fatal(err)
		}
		whole(t, found)
		return found, facts
	}
	if found, facts := look(); len(found) > 0 || !slices.Contains(facts, "slot runtime_outbox_slot: nobody reads it now") {
		t.Fatalf("got %+v, %v of what was just made", found, facts)
	}
	const pub, slot, role = "publication runtime_outbox_pub", "slot runtime_outbox_slot", "role runtime_relay"
	for _, tc := range []struct{ name, harm, mend, where, what string }{
		{"updates too", `ALTER PUBLICATION runtime_outbox_pub SET (publish = 'insert, update')`, `ALTER PUBLICATION runtime_outbox_pub SET (publish = 'insert')`, pub, "more than inserts"},
		{"no inserts", `ALTER PUBLICATION runtime_outbox_pub SET (publish = 'delete')`, `ALTER PUBLICATION runtime_outbox_pub SET (publish = 'insert')`, pub, "no inserts"},
		{"leaves", `ALTER PUBLICATION runtime_outbox_pub SET (publish_via_partition_root = false)`, `ALTER PUBLICATION runtime_outbox_pub SET (publish_via_partition_root = true)`, pub, "under their own names"},
		{"another table", `CREATE TABLE public.other (id int); ALTER PUBLICATION runtime_outbox_pub ADD TABLE public.other`, `DROP TABLE public.other`, pub, "exactly"},
		{"no table", `ALTER PUBLICATION runtime_outbox_pub DROP TABLE event_runtime.outbox`, `ALTER PUBLICATION runtime_outbox_pub ADD TABLE event_runtime.outbox`, pub, "exactly"},
		{"another publication", `ALTER PUBLICATION runtime_outbox_pub RENAME TO other`, `ALTER PUBLICATION other RENAME TO runtime_outbox_pub`, pub, "does not exist"},
		{"identity", `ALTER TABLE event_runtime.outbox REPLICA IDENTITY FULL`, `ALTER TABLE event_runtime.outbox REPLICA IDENTITY DEFAULT`, Outbox, "replica identity"},
		{"a column", `ALTER TABLE event_runtime.outbox RENAME traceparent TO trace`, `ALTER TABLE event_runtime.outbox RENAME trace TO traceparent`, Outbox, "no column traceparent"},
		{"the table", `ALTER TABLE event_runtime.outbox RENAME TO outbox2`, `ALTER TABLE event_runtime.outbox2 RENAME TO outbox`, Outbox, "no such table"},
		{"row security", `ALTER ROLE runtime_relay NOBYPASSRLS`, `ALTER ROLE runtime_relay BYPASSRLS`, role, "BYPASSRLS"},
		{"replication", `ALTER ROLE runtime_relay NOREPLICATION`, `ALTER ROLE runtime_relay REPLICATION`, role, "REPLICATION"},
		{"rights", `REVOKE SELECT ON event_runtime.outbox FROM runtime_relay`, `GRANT SELECT ON event_runtime.outbox TO runtime_relay`, role, "may not read"},
		{"the role", `ALTER ROLE runtime_relay RENAME TO somebody`, `ALTER ROLE somebody RENAME TO runtime_relay`, role, "does not exist"},
		{"the slot", `SELECT pg_drop_replication_slot('runtime_outbox_slot')`, `SELECT pg_create_logical_replication_slot('runtime_outbox_slot', 'pgoutput')`, slot, "does not exist"},
		{"another plugin", `SELECT pg_drop_replication_slot('runtime_outbox_slot'), pg_create_logical_replication_slot('runtime_outbox_slot', 'test_decoding')`,
			`SELECT pg_drop_replication_slot('runtime_outbox_slot'), pg_create_logical_replication_slot('runtime_outbox_slot', 'pgoutput')`, slot, "of plugin test_decoding"},
	} {
		run(t, pg, tc.harm)
		found, _ := look()
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Where == tc.where && strings.Contains(f.What, tc.what) }) {
			t.Errorf("%s: got %+v, want %s: %s", tc.name, found, tc.where, tc.what)
		}
		run(t, pg, tc.mend)
		if found, _ := look(); len(found) > 0 {
			t.Fatalf("%s: got %+v after it was mended", tc.name, found)
		}
	}
}

// run executes statements as whoever made the schema.
func run(t *testing.T, pg *testenv.PostgresServer, sql string) {
	t.Helper()
	if _, err := pg.Conn(testenv.Superuser).PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Settings of a server that nobody has thought about.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	pg := testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "-1"), testenv.Setting("wal_sender_timeout", "59s"), testenv.Setting("wal_level", "replica"))
	found, _, err := Database(t.Context(), pg.Conn(testenv.Superuser), shipped(t, sequin.Bridge))
	if err != nil {
		t.Fatal(err)
	}
	whole(t, found)
	if got, want := wheres(found), []string{"max_slot_wal_keep_size", "slot runtime_outbox_slot", "wal_level", "wal_sender_timeout"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A database that is not ours gives findings, not an error; one that is gone, an
// error.
func TestAnotherDatabase(t *testing.T) {
	t.Parallel()
	pg := testenv.Cluster(t, testenv.Raw(), testenv.Setting("max_slot_wal_keep_size", "1GB"))
	conn := pg.Conn(testenv.Superuser)
	found, _, err := Database(t.Context(), conn, shipped(t, sequin.NATS))
	if got, want := wheres(found), []string{Outbox, "publication runtime_outbox_pub", "role runtime_relay", "slot runtime_outbox_slot"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	whole(t, found)
	pg.Stop()
	if _, _, err := Database(t.Context(), conn, shipped(t, sequin.NATS)); err == nil {
		t.Error("got no error of a server that is gone")
	}
}
