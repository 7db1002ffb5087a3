package relay

import (
	"strings"
	"syscall"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
)

// TestOneWorksTheOtherWaits: the slot is the mutex, also between processes.
func TestOneWorksTheOtherWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testenv.Process){
		"the first stops":     func(p *testenv.Process) { p.Signal(syscall.SIGTERM); p.ExitedWith(0) },
		"the first is killed": (*testenv.Process).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			first := r.child()
			first.Line("relay.connected")
			second := r.start()
			r.log.await(t, "relay.stood_by")
			await(t, "the reason", func() bool { return second.Ready() == "another relay holds the slot" })
			r.append(100, "consent.advanced")
			r.wantAll(100)
			if got := second.Stats(); got.Stored+got.Duplicate != 0 {
				t.Errorf("got %+v from the one that waits", got)
			}
			if n := strings.Count(first.Log(), "relay.connected"); n != 1 {
				t.Errorf("got %d sessions of the first, want 1", n)
			}
			end(first)
			r.log.await(t, "relay.connected")
			r.append(100, "consent.advanced")
			r.wantAll(200)
			r.confirmed()
			if lines, _ := r.log.with("relay.stood_by"); len(lines) != 1 {
				t.Errorf("got %d lines about waiting, want 1", len(lines))
			}
		})
	}
}

// TestSlotMissing: said once and clearly, and over as soon as there is one.
func TestSlotMissing(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t))
	r.provision()
	run := r.start()
	r.log.await(t, `"code":"slot_missing"`)
	await(t, "the reason", func() bool { return run.Ready() == slotMissing.reason })
	r.makeSlot()
	r.log.await(t, "relay.connected")
	r.append(3, "consent.advanced")
	r.wantAll(3)
	r.confirmed()
	if lines, _ := r.log.with("slot_missing"); len(lines) != 1 {
		t.Errorf("got %d lines about it, want 1", len(lines))
	}
}

// TestSlotDropped: a slot that is taken away while it is read.
func TestSlotDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.append(3, "consent.advanced")
	r.wantAll(3)
	r.confirmed()
	r.pg.Exec(`do $$ begin
		perform pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null;
		for i in 1..500 loop
			exit when not exists (select from pg_replication_slots where active);
			perform pg_sleep(0.01);
		end loop;
		perform pg_drop_replication_slot('` + migrations.Slot + `');
	end $$`)
	r.log.await(t, `"code":"slot_missing"`)
	r.makeSlot()
	r.append(3, "consent.advanced")
	r.wantAll(6)
}

// TestSlotLost: Postgres has dropped the log that the slot had yet to read.
func TestSlotLost(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "1MB")))
	r.provision()
	r.makeSlot()
	await(t, "the slot to be lost", func() bool {
		r.pg.Exec(`create table public.noise as select repeat('x', 1000) from generate_series(1, 20000)`)
		r.pg.Exec(`drop table public.noise`)
		r.pg.Exec(`select pg_switch_wal()`)
		r.pg.Exec(`checkpoint`)
		var status string
		return r.pg.Conn(testenv.Superuser).QueryRow(t.Context(), `select wal_status from pg_replication_slots`).Scan(&status) == nil && status == "lost"
	})
	r.start()
	r.log.await(t, `"code":"slot_lost"`)
	r.pg.Exec(`select pg_drop_replication_slot('` + migrations.Slot + `')`)
	r.makeSlot()
	r.append(3, "consent.advanced")
	r.wantAll(3)
}

// TestPublicationUnfit: what would be silent loss is an error.
func TestPublicationUnfit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ spoil, mend, want string }{
		"not through the root": {
			`alter publication runtime_outbox_pub set (publish_via_partition_root = false)`,
			`alter publication runtime_outbox_pub set (publish_via_partition_root = true)`, "under their own names",
		},
		"no inserts": {
			`alter publication runtime_outbox_pub set (publish = 'update')`,
			`alter publication runtime_outbox_pub set (publish = 'insert')`, "publishes no inserts",
		},
		"not this table": {
			`create table public.other (); alter publication runtime_outbox_pub set table public.other`,
			`alter publication runtime_outbox_pub set table event_runtime.outbox`, "does not carry table event_runtime.outbox",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.pg.Exec(c.spoil)
			r.start()
			r.log.await(t, c.want)
			r.pg.Exec(c.mend)
			r.log.await(t, "relay.connected")
			r.append(1, "consent.advanced")
			r.wantAll(1)
		})
	}
}

// TestDatabaseRefuses: said once and clearly, and no reason to give up.
func TestDatabaseRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil, mend string
		want        kind
	}{
		"it may not log in":      {`alter role runtime_relay nologin`, `alter role runtime_relay login`, accessRefused},
		"a slot of other plugin": {`select pg_drop_replication_slot('` + migrations.Slot + `'), pg_create_logical_replication_slot('` + migrations.Slot + `', 'test_decoding')`, `select pg_drop_replication_slot('` + migrations.Slot + `'), pg_create_logical_replication_slot('` + migrations.Slot + `', 'pgoutput')`, slotMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.pg.Exec(c.spoil)
			run := r.start()
			r.log.await(t, `"code":"`+c.want.code+`"`)
			await(t, "the reason", func() bool { return run.Ready() == c.want.reason })
			r.pg.Exec(c.mend)
			r.append(1, "consent.advanced")
			r.wantAll(1)
			if lines, _ := r.log.with(c.want.code); len(lines) != 1 {
				t.Errorf("got %d lines about it, want 1", len(lines))
			}
		})
	}
}

// TestSQL prepares every statement against the migrated schema.
func TestSQL(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}
