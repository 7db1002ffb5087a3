package relay

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestSlotLostIsMadeAnew: what the relay has read before is made anew when it is
// lost or dropped, by one of two relays, and nobody is needed.
func TestSlotLostIsMadeAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	runs := []*running{r.start(), r.start()}
	r.append(3, "consent.advanced")
	r.wantAll(3)
	r.confirmed()
	for range 2 {
		before := runs[0].Stats().Recreated + runs[1].Stats().Recreated
		r.pg.Exec(sqlTakeSlot)
		await(t, "a slot made anew", func() bool { return runs[0].Stats().Recreated+runs[1].Stats().Recreated > before })
		await(t, "a relay at work", func() bool { return (runs[0].Ready() == "") != (runs[1].Ready() == "") })
		if n := runs[0].Stats().Recreated + runs[1].Stats().Recreated; n != before+1 {
			t.Errorf("%d slots were made for one that was lost", n-before)
		}
	}
	r.append(3, "consent.advanced")
	r.wantAll(6)
	var open, causes int
	if err := r.pg.Conn(testenv.Superuser).QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE recreated_at IS NULL), count(*) FILTER (WHERE cause = 'missing') FROM event_runtime.cdc_losses`).Scan(&open, &causes); err != nil {
		t.Fatal(err)
	}
	if open != 0 || causes != 2 {
		t.Errorf("got %d losses, %d of them open, want 2 that are over", causes, open)
	}
}

// sqlTakeSlot takes the slot away from whoever reads it.
const sqlTakeSlot = `do $$ begin
	for i in 1..1000 loop
		perform pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null;
		begin
			perform pg_drop_replication_slot('` + migrations.Slot + `');
			return;
		exception when object_in_use then
			perform pg_sleep(0.01);
		end;
	end loop;
	raise exception 'somebody always reads the slot';
end $$`

// TestSlotLostWhileBrokerGone: a relay that can store nothing, and so reads
// nothing, does not hold up the checkpoint that takes its log away.
func TestSlotLostWhileBrokerGone(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "32MB"), testenv.Setting("max_wal_size", "64MB"), testenv.Setting("min_wal_size", "32MB")))
	r.provision()
	r.makeSlot()
	r.cfg.Window, r.cfg.StallFor = 16, 0 // it must see for itself
	r.start()
	r.append(3, "consent.advanced")
	r.wantAll(3)
	r.confirmed()
	r.nats.Stop()
	r.append(100, "consent.advanced") // more than the window holds
	bounded, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn := r.pg.Conn(testenv.Superuser)
	for lost, _ := r.log.with(`"event":"slot.lost"`); len(lost) == 0; lost, _ = r.log.with(`"event":"slot.lost"`) {
		for _, sql := range []string{`SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1048576)) FROM generate_series(1, 24)`, `CHECKPOINT`} {
			if _, err := conn.Exec(bounded, sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	r.nats.Start()
	r.log.await(t, `"event":"slot.recreated"`)
	before := r.count()
	r.append(3, "consent.advanced")
	await(t, "the new rows", func() bool { return r.count() >= before+3 })
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
