package chaos

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
)

// The database is gone, stands still, is locked, or takes no more connections,
// while events keep coming. Workers stop pulling instead of burning deliveries,
// and go on by themselves.
func TestScenario14PostgresAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// What hangs must not be taken for lost: here as in production.
	for _, d := range transport.Durables(1) {
		d.Config.AckWait = time.Minute
		if _, err := r.js.UpdateConsumer(t.Context(), d.Stream, d.Config); err != nil {
			t.Fatal(err)
		}
	}
	r.relay()
	worker := r.serve()
	worker.Line("serve.started")
	var locker *pgx.Conn
	for _, o := range []struct {
		name       string
		begin, end func()
		hangs      bool
	}{
		{"killed", r.db.Kill, r.db.Start, false},
		{"paused", r.db.Pause, r.db.Resume, true},
		{"locked", func() {
			locker = r.db.Conn(testenv.Superuser)
			if _, err := locker.Exec(t.Context(), `BEGIN; LOCK TABLE event_runtime.consumer_idempotency`); err != nil {
				t.Fatal(err)
			}
		}, func() { _ = locker.Close(noCancel(t)) }, true},
		{"out of connections", func() {
			r.exec(`ALTER ROLE runtime_worker CONNECTION LIMIT 0`)
			r.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'runtime_worker'`)
		}, func() { r.exec(`ALTER ROLE runtime_worker CONNECTION LIMIT -1`) }, false},
	} {
		t.Run(o.name, func(t *testing.T) {
			r.in(t)
			const messages = 60
			complaints := func() int { return strings.Count(worker.Log(), `"event":"consumer.database_down"`) }
			before, told := r.deliveries(), complaints()
			worker.Signal(syscall.SIGSTOP) // until all has come
			r.calls(messages, banks()[1])
			r.streamed()
			o.begin()
			worker.Signal(syscall.SIGCONT)
			if o.hangs {
				r.until("a hand is held", time.Minute, func() bool { return r.deliveries() > before })
			} else {
				r.until("it is told", time.Minute, func() bool { return complaints() > told })
			}
			o.end()
			r.pool.Reset()
			r.producer.Reset()
			r.quiescent()
			if got := r.deliveries() - before; got > 2*messages {
				t.Errorf("got %d deliveries of %d messages, want at most twice as many", got, messages)
			}
			r.oracle()
		})
	}
}

// deliveries counts messages given to workers, each time they were.
func (r *rig) deliveries() (n int64) {
	r.t.Helper()
	for _, info := range r.consumers() {
		n += int64(info.Delivered.Consumer)
	}
	return n
}
