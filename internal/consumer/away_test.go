package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
)

// outage is one way in which a database cannot be written, and how it ends.
type outage struct {
	begin, end func()
	hangs      bool // it does not answer at all, so nobody is told
}

// While the database is away nothing is pulled, no message is delivered more
// than twice, and when it is back everything goes on by itself.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	server := testenv.Cluster(t)
	r := newRigOn(t, server.DB)
	r.start()
	const messages = 60
	for name, o := range outages(t, server) {
		t.Run(name, func(t *testing.T) {
			all := drafts(messages)
			r.append(all...)
			before, told := r.durable(transport.Interactions), r.logs.named("consumer.database_down")
			o.begin()
			r.publish(all...)
			if o.hangs {
				eventually(t, "a hand is held", func() bool { return r.durable(transport.Interactions).NumAckPending > 0 })
			} else {
				eventually(t, "it is told", func() bool { return r.logs.named("consumer.database_down") > told })
			}
			o.end()
			r.reader.Reset() // connections of our own that the outage broke
			r.producer.Reset()
			r.settled()
			after := r.durable(transport.Interactions)
			if got := after.Delivered.Consumer - before.Delivered.Consumer; got > 2*messages {
				t.Errorf("got %d deliveries of %d messages, want at most twice as many", got, messages)
			}
			r.whole()
		})
	}
}

func outages(t *testing.T, server *testenv.PostgresServer) map[string]outage {
	admin := func(sql ...string) func() {
		return func() {
			for _, s := range sql {
				server.Exec(s)
			}
		}
	}
	var locker *pgx.Conn
	return map[string]outage{
		"stopped": {server.Stop, server.Start, false},
		"killed":  {server.Kill, server.Start, false},
		"paused":  {server.Pause, server.Resume, true},
		"locked": {func() {
			locker = server.Conn(testenv.Superuser)
			if _, err := locker.Exec(t.Context(), `BEGIN; LOCK TABLE event_runtime.consumer_idempotency`); err != nil {
				t.Fatal(err)
			}
		}, func() { _ = locker.Close(context.WithoutCancel(t.Context())) }, true},
		"read-only": {admin(`ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`),
			admin(`ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`), false},
		"out of connections": {admin(`ALTER ROLE runtime_worker CONNECTION LIMIT 0`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'runtime_worker'`),
			admin(`ALTER ROLE runtime_worker CONNECTION LIMIT -1`), false},
	}
}

const (
	diskFull = `CREATE FUNCTION event_runtime.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left on device' USING errcode = '53100'; END $$;
		CREATE TRIGGER full_disk BEFORE INSERT ON event_runtime.consumer_idempotency FOR EACH ROW EXECUTE FUNCTION event_runtime.full()`
	diskFree = `DROP TRIGGER full_disk ON event_runtime.consumer_idempotency`
)

// A full disk still answers questions. One message that is kept finds out when it
// takes rows again, further and further apart, and none is delivered for it.
func TestDatabaseThatTakesNoRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.db.Exec(diskFull)
	const messages, looks = 60, 8
	all := drafts(messages)
	r.append(all...)
	r.publish(all...)
	began := time.Now()
	r.start()
	eventually(t, "it is looked at several times", func() bool { return r.logs.named("consumer.database_down") >= looks })
	if took := time.Since(began); took < 1200*time.Millisecond { // 20 + 40 + 80 + 160 + 320 + 640 ms lie between
		t.Errorf("looked %d times within %v, want further and further apart", looks, took)
	}
	r.db.Exec(diskFree)
	r.settled()
	if got := r.durable(transport.Interactions).Delivered.Consumer; got > 2*messages {
		t.Errorf("got %d deliveries of %d messages, want at most twice as many", got, messages)
	}
	r.whole()
}
