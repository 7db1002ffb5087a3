package chaos

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
)

// A worker is stopped for longer than its leases and its messages last, and a
// second one goes on. When the first wakes up, it changes nothing any more.
func TestScenario9Zombie(t *testing.T) {
	t.Parallel()
	t.Run("with messages in hand", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.relay()
		zombie := r.serve("CONSUMER_BATCH_WAIT=4s") // it waits so long for more before it writes
		zombie.Line("serve.started")
		r.calls(30)
		r.until("all messages are in its hand", 30*time.Second, func() bool { return r.consumers()[0].NumAckPending == 30 })
		r.wantRows(0)
		zombie.Signal(syscall.SIGSTOP)
		second := r.serve()
		r.quiescent()
		r.oracle()
		zombie.Signal(syscall.SIGCONT)
		r.until("its rows are met as duplicates", 30*time.Second, func() bool {
			return r.count(`SELECT coalesce(sum(duplicates), 0)::bigint FROM event_runtime.books`) >= 30
		})
		r.calls(3)
		r.rest(zombie, second)
	})

	t.Run("before its request was written", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withBatchesOf(5))
		r.relay()
		zombie := r.serve()
		zombie.Line("serve.started")
		r.proxy.Pause()
		r.calls(5, banks()[1])
		r.awaitPosting(zombie)
		<-r.proxy.Accepted() // it dials, and waits for the handshake
		zombie.Signal(syscall.SIGSTOP)
		second := r.serve("OFB_API_URL=" + r.regulator.APIURL())
		r.quiescent()
		r.oracle()
		r.proxy.Resume()
		zombie.Signal(syscall.SIGCONT)
		r.wantTooLate(zombie)
		r.rest(zombie, second)
		r.wantDoubt()
		if n := r.posts(); n != 1 {
			t.Errorf("the regulator read %d requests, want the second worker's", n)
		}
	})

	t.Run("before it had a token", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withBatchesOf(5))
		r.relay()
		tokens := testenv.Proxy(t, hostOf(r.regulator.AuthURL()))
		tokens.Pause()
		zombie := r.serve("OFB_AUTH_URL=https://" + tokens.Addr())
		r.calls(5, banks()[1])
		r.awaitPosting(zombie)
		<-tokens.Accepted()
		zombie.Signal(syscall.SIGSTOP)
		second := r.serve()
		r.quiescent()
		r.oracle()
		tokens.Resume()
		zombie.Signal(syscall.SIGCONT)
		r.wantTooLate(zombie)
		r.rest(zombie, second)
		r.wantDoubt()
		if n := r.posts(); n != 1 {
			t.Errorf("the regulator read %d requests, want the second worker's", n)
		}
	})

	t.Run("while it waits for the answer", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withBatchesOf(5))
		zombie := r.awaitAnswer()
		second := r.serve()
		r.quiescent()
		r.oracle()
		zombie.Signal(syscall.SIGCONT)
		r.wantTooLate(zombie)
		r.rest(zombie, second)
		r.wantDoubt()
		if n := r.count(`SELECT count(*) FROM event_runtime.submission_receipts r JOIN event_runtime.export_batches b USING (batch_id) WHERE b.tenant_id = $1 AND r.source = 'response'`, banks()[1].tenant); n != 0 {
			t.Errorf("got %d receipts from the zombie's answer, want those found by asking only", n)
		}
	})

	t.Run("while it makes partitions", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.relay()
		zombie := r.serve()
		const making = `SELECT count(*) FROM pg_stat_activity WHERE usename = 'runtime_maintenance' AND query LIKE '%ensure_days%' AND state LIKE $1`
		r.until("partitions are being made", 30*time.Second, func() bool { return r.count(making, "active") > 0 })
		zombie.Signal(syscall.SIGSTOP)
		r.until("the statement has ended", 30*time.Second, func() bool { return r.count(making, "active") == 0 })
		if n := r.count(making, "idle in transaction%"); n != 0 {
			t.Error("a process that is stopped while it makes partitions keeps everybody from writing")
		}
		second := r.serve()
		r.wave(10)
		r.quiescent()
		r.oracle()
		zombie.Signal(syscall.SIGCONT)
		r.rest(zombie, second)
	})

	t.Run("until after it was given up", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withBatchesOf(5))
		zombie := r.awaitAnswer()
		second := r.serve("SUBMIT_ASK_AFTER=1h")
		r.until("the batch is given up", 30*time.Second, func() bool {
			return r.count(`SELECT count(*) FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed'`) == 1
		})
		zombie.Signal(syscall.SIGCONT)
		r.until("its answer is taken all the same", 30*time.Second, func() bool { return r.count(`SELECT count(*) FROM event_runtime.submission_attempts WHERE late`) == 1 })
		r.rest(zombie, second)
		r.wantDoubt()
		if n := r.regulator.Ledger().Totals.Lookups; n != 0 {
			t.Errorf("got %d lookups, want none: the answer was there", n)
		}
	})
}

// awaitPosting waits until the process has a batch of its own under way.
func (r *rig) awaitPosting(p *testenv.Process) {
	r.t.Helper()
	r.until("a batch is posting", 30*time.Second, func() bool {
		if gone(p) {
			r.t.Fatal("the worker ended")
		}
		return r.count(`SELECT count(*) FROM event_runtime.export_batches WHERE state = 'posting'`) == 1
	})
}

// awaitAnswer stops a worker whose request the regulator has stored and is about
// to answer. The worker itself would wait for a minute.
func (r *rig) awaitAnswer() *testenv.Process {
	r.t.Helper()
	r.relay()
	zombie := r.serve("SUBMIT_EXCHANGE_TIMEOUT=60s", "SUBMIT_UNCONFIRMED_AFTER=61s", "SUBMIT_ASK_AFTER=62s")
	zombie.Line("serve.started")
	r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, Kind: simulator.Delay, When: "after", Delay: simulator.Duration(time.Second), Times: 1})
	r.calls(5, banks()[1])
	r.until("it is stored", 30*time.Second, func() bool { return r.regulator.Ledger().Totals.Stored == 5 })
	zombie.Signal(syscall.SIGSTOP)
	return zombie
}

// wantTooLate: the zombie came to an outcome, and its write met no row.
func (r *rig) wantTooLate(zombie *testenv.Process) {
	r.t.Helper()
	if line := zombie.Line(`"event":"batch.posted"`); !strings.Contains(line, "another worker was first") {
		r.t.Errorf("got %s, want another worker to have been first", line)
	}
}

// rest ends the workers in order, and asks again: what a zombie has done may
// show late.
func (r *rig) rest(workers ...*testenv.Process) {
	r.t.Helper()
	r.quiescent()
	for _, w := range workers {
		w.Signal(terminate)
	}
	for _, w := range workers {
		w.ExitedWith(0)
	}
	r.quiescent()
	r.oracle()
	sealed := 0
	for _, s := range r.history() {
		if s.was == "" && s.state == "sealed" {
			sealed++
		}
	}
	owners := r.count(`SELECT count(*) FROM (SELECT i.id FROM event_runtime.export_batches b, unnest(b.event_ids) AS i(id) GROUP BY i.id HAVING count(*) > 1) AS doubled`)
	if owners != 0 {
		r.t.Errorf("%d events were sealed in more than one of %d batches", owners, sealed)
	}
	if !slices.ContainsFunc(r.history(), func(s step) bool { return s.state == "submitted" }) {
		r.t.Error("nothing was submitted")
	}
}
