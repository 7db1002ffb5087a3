package chaos

import (
	"strings"
	"syscall"
	"testing"
	"time"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

// The database's disk fills up at the three moments that matter. Nothing is
// acknowledged that is not committed, nothing is sent without its marker, and an
// answer that cannot be recorded waits on another disk.
func TestScenario13DiskFull(t *testing.T) {
	t.Parallel()
	// Vacuum would drop a cache file without which, on a full disk, nobody can even connect.
	small := onCluster(testenv.OnTmpfs(160<<20), testenv.Setting("max_wal_size", "32MB"), testenv.Setting("min_wal_size", "32MB"), testenv.Setting("autovacuum", "off"))

	t.Run("in the insert of consumer rows", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, small)
		worker := r.serve("CONSUMER_BATCH_SIZE=100")
		worker.Line("partitions.made")
		worker.Signal(syscall.SIGSTOP) // until all has come, and there is no room for it
		r.relay()
		r.calls(1000)
		r.streamed()
		r.db.FillDisk()
		worker.Signal(syscall.SIGCONT)
		worker.Line("consumer.database_down")
		for range 20 {
			settled := r.settled() // first: rows may be added in between
			if rows := r.rows(); settled > rows {
				t.Fatalf("%d messages are settled and %d rows are committed", settled, rows)
			}
		}
		r.db.FreeDisk()
		r.quiescent()
		r.oracle()
	})

	t.Run("before the marker", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, small, withBatchesOf(6), withEnv("SUBMIT_RETRY_BASE=500ms"))
		r.relay()
		worker := r.serve()
		worker.Line("serve.started")
		r.proxy.Refuse()
		r.calls(6, banks()[1])
		r.until("an attempt failed", 30*time.Second, func() bool { return r.neverSent() > 0 })
		r.exhaust()
		r.proxy.Accept()
		worker.Line(`"event":"lane`)
		if n := r.posts(); n != 0 {
			t.Errorf("the regulator read %d requests while no marker could be committed", n)
		}
		r.relieve()
		r.quiescent()
		r.oracle()
		if n := r.posts(); n != 1 {
			t.Errorf("the regulator read %d requests, want 1", n)
		}
	})

	t.Run("in the transaction of the receipts", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, small, withBatchesOf(6), withEnv("SUBMIT_EXCHANGE_TIMEOUT=20s", "SUBMIT_UNCONFIRMED_AFTER=1m", "SUBMIT_ASK_AFTER=2m"))
		r.relay()
		worker := r.serve()
		worker.Line("serve.started")
		r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, Kind: simulator.Delay, When: "after", Delay: simulator.Duration(2 * time.Second), Times: 1})
		r.calls(6, banks()[1])
		r.until("it is stored", 30*time.Second, func() bool { return r.regulator.Ledger().Totals.Stored == 6 })
		r.proxy.Pause() // the answer comes when there is no room for it
		r.exhaust()
		r.proxy.Resume()
		worker.Line("batch.record_failed")
		r.until("the answer is on the other disk", 30*time.Second, func() bool { return len(r.spooled()) == 1 })
		worker.Kill()
		r.relieve()
		r.wantBatches("posting", 1)
		r.serve()
		r.quiescent()
		r.oracle()
		if n := r.posts(); n != 1 {
			t.Errorf("the regulator read %d requests, want 1", n)
		}
		if n := r.regulator.Ledger().Totals.Lookups; n != 0 {
			t.Errorf("got %d lookups, want none: the answer was there", n)
		}
	})
}

// rows counts what the consumers have committed.
func (r *rig) rows() int64 {
	r.t.Helper()
	return r.count(`SELECT (SELECT count(*) FROM event_runtime.consumer_idempotency) + (SELECT count(*) FROM event_runtime.quarantine)`)
}

// exhaust fills the disk, and what was set aside for the log as well: from here
// on no transaction can be committed.
func (r *rig) exhaust() {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.db.URL(testenv.Superuser))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close(noCancel(r.t)) }()
	r.db.FillDisk()
	for range 50 {
		if _, err := conn.Exec(r.t.Context(), `SELECT pg_logical_emit_message(false, 'chaos', ''), pg_switch_wal()`); err != nil {
			if !strings.Contains(err.Error(), "No space left") {
				r.t.Logf("the server ended with: %v", err)
			}
			return
		}
	}
	r.t.Fatal("there is still room for the log")
}

// relieve gives the disk back, and starts the server if it has given up.
func (r *rig) relieve() {
	r.t.Helper()
	r.db.FreeDisk()
	r.until("the database can be written", time.Minute, func() bool {
		select {
		case <-r.db.Done():
			r.db.Stop() // gives the directory back
			r.db.Start()
		default:
		}
		_, err := r.pool.Exec(r.t.Context(), `SELECT pg_logical_emit_message(true, 'chaos', '')`)
		return err == nil
	})
}
