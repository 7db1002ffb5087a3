package chaos

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/nats-io/nats.go/jetstream"
)

// A scene is how a point is reached, and what must be there when the process has
// died at it. What a restart makes of it is the oracle's business.
type scene struct {
	fault   simulator.Kind // that the regulator's network meets, as often as the point is passed
	at      int            // instead of the nth time: for a point that counts bytes
	between func(r *rig)   // after the kill, before the restart
	doubt   bool           // the batch is given up, and cleared up by asking
	again   bool           // events were set aside, and are classified again
	groups  bool           // the streams take atomic batches
	sweeps  bool           // no message reaches the streams but by the sweeper
	bridged bool           // nor but by the bridge
	slot    bool           // the relay finds that its slot is gone
}

// scenes has a row for each point that needs more than traffic.
func scenes() map[string]scene {
	wire := func(arrived bool) scene {
		return scene{doubt: true, between: func(r *rig) { r.wantMarked(arrived) }}
	}
	half := wire(false)
	half.at = 9000 // in the middle of the body: the handshake takes less than 3000
	return map[string]scene{
		"bridge_after_puback_before_2xx":   {bridged: true, between: (*rig).wantUnanswered},
		"in_slot_recreate":                 {slot: true, between: (*rig).wantNoSlot},
		"relay_in_group":                   {groups: true, between: (*rig).wantNoGroup},
		"sweep_after_publish":              {sweeps: true, between: (*rig).wantNothingWrittenDown},
		"after_fetch":                      {between: func(r *rig) { r.wantRows(0) }},
		"after_persist_before_ack":         {between: (*rig).wantUnacked},
		"quarantine_after_row_before_term": {between: (*rig).wantUnacked},
		"in_seal_tx":                       {between: func(r *rig) { r.wantBatches("sealed", 0) }},
		"after_seal":                       {between: func(r *rig) { r.wantBatches("sealed", 1) }},
		"before_marker":                    {between: func(r *rig) { r.wantBatches("sealed", 1); r.wantBatches("posting", 0) }},
		"after_marker_before_dial":         wire(false),
		"after_conn":                       wire(false),
		"after_k_bytes":                    half,
		"after_full_request":               wire(true),
		"after_status_line":                wire(true),
		"after_half_body":                  wire(true),
		"after_body_before_receipt_tx":     wire(true),
		"in_receipt_tx":                    wire(true),
		"after_receipt_commit":             {between: func(r *rig) { r.wantBatches("submitted", 1) }},
		"after_lookup_before_receipt_tx":   {fault: simulator.LoseAnswer, between: func(r *rig) { r.wantBatches("submit_unconfirmed", 1) }},
		"in_reclassify_page":               {again: true, between: (*rig).wantNothingReclassified},
		"in_audit_append":                  {fault: simulator.LoseRequest, between: func(r *rig) { r.wantBatches("submit_unconfirmed", 1); r.wantLedger(0) }},
	}
}

// Killed at each point, and started again, the system loses nothing and doubles
// nothing.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	t.Run("scenario 1", func(t *testing.T) {
		t.Parallel()
		known := scenes()
		for _, p := range crash.Places() {
			s := known[p.Name]
			delete(known, p.Name)
			t.Run(p.Name, func(t *testing.T) { t.Parallel(); crashAt(t, p, s, 1) })
			if os.Getenv("CHAOS_ALL") != "" {
				t.Run(p.Name+" the second time", func(t *testing.T) { t.Parallel(); crashAt(t, p, s, 2) })
				t.Run(p.Name+" in the last batch", func(t *testing.T) { t.Parallel(); crashLast(t, p, s) })
			}
		}
		for name := range known {
			t.Errorf("there is no point %s", name)
		}
	})
}

func crashAt(t *testing.T, p crash.Place, s scene, nth int) {
	r := newRig(t, s.options()...)
	r.prepare(s, nth)
	switch {
	case s.sweeps:
		r.loseSlot()
		r.wave(40)
	case s.slot:
		r.serve()
		r.known()
		r.loseSlot()
		r.wave(40)
	case s.bridged:
		r.wave(40)
	case p.Process == "relay":
		r.serve()
		r.wave(40)
	default:
		r.relay()
		if s.again {
			r.setSomeAside()
		}
		r.wave(40)
		r.streamed()
	}
	r.crash(p, s, nth)
	r.restart(p, s)
}

// crashLast lets everything come to rest first: the point is passed on behalf of
// the last batch there is.
func crashLast(t *testing.T, p crash.Place, s scene) {
	r := newRig(t, s.options()...)
	if s.slot {
		r.prepare(s, 1) // the worker that sweeps outlives the relay
	}
	first := []*testenv.Process{r.relay(), r.serve()}
	r.wave(40)
	r.quiescent()
	r.prepare(s, 1)
	end := first[slices.Index([]string{"relay", "serve"}, p.Process)]
	end.Signal(terminate)
	end.ExitedWith(0)
	s.between = nil // there is more than one batch now
	if s.sweeps || s.bridged {
		first[0].Signal(terminate)
		first[0].ExitedWith(0)
	}
	if s.sweeps || s.slot {
		r.loseSlot()
	}
	if s.again {
		r.setSomeAside()
	}
	r.wave(40)
	r.crash(p, s, 1)
	r.restart(p, s)
}

func (s scene) options() []option {
	if s.groups {
		return []option{inGroups}
	}
	return nil
}

func (r *rig) prepare(s scene, nth int) {
	if s.sweeps || s.slot {
		r.serveEnv = append(r.serveEnv, "SWEEP_INTERVAL=200ms", "SWEEP_GRACE=10ms", "SWEEP_AGAIN=2s")
	}
	if s.bridged {
		r.serveEnv = append(r.serveEnv, bridgeEnv()...)
		r.carry()
	}
	if s.fault != "" {
		r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, Kind: s.fault, Times: nth})
	}
}

// crash arms a process and gives it work until it dies.
func (r *rig) crash(p crash.Place, s scene, nth int) {
	r.t.Helper()
	if s.at > 0 {
		nth = s.at * nth
	}
	victim := r.arm(p.Process, p.Name, nth)
	more := time.NewTicker(time.Second)
	defer more.Stop()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for !gone(victim.Process) {
		select {
		case <-victim.Done():
		case <-more.C:
			if nth > 1 && s.at == 0 {
				r.wave(6)
			}
			if nth > 1 && s.slot {
				r.takeSlot()
			}
			r.calls(1, control())
		case <-late.C:
			r.t.Fatalf("nobody passed %s", p.Name)
		}
	}
	victim.hit()
	if s.between != nil && nth == max(s.at, 1) {
		s.between(r)
	}
}

// restart starts the process without the point.
func (r *rig) restart(p crash.Place, s scene) {
	r.t.Helper()
	if p.Process == "relay" {
		r.relay()
	} else {
		r.serve()
	}
	if s.again {
		r.wantReclassified()
	}
	r.quiescent()
	r.oracle()
	if s.doubt {
		r.wantDoubt()
	}
	if s.bridged {
		r.wantMet()
	}
	if s.slot {
		r.recovered(1)
	}
}

// loseSlot takes away what a relay reads from: nobody else publishes then.
func (r *rig) loseSlot() {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), `SELECT pg_drop_replication_slot($1)`, migrations.Slot); err != nil {
		r.t.Fatal(err)
	}
}

// wantNothingWrittenDown: messages are in the streams, and the sweeper does not
// know it.
func (r *rig) wantNothingWrittenDown() {
	r.t.Helper()
	if n := r.inStreams(); n == 0 {
		r.t.Errorf("got nothing in the streams, want what was just published")
	}
	if n := r.count(`SELECT count(*) FROM event_runtime.sweep_owed WHERE published > 0`); n != 0 {
		r.t.Errorf("got %d events written down as published, want none", n)
	}
}

// wantNoGroup: nothing of the group that was being sent is stored.
func (r *rig) wantNoGroup() {
	r.t.Helper()
	if n := r.inStreams(); n >= r.appended() {
		r.t.Errorf("got %d messages in the streams, want those of one group missing", n)
	}
}

// streamed waits until all that was appended is in JetStream.
func (r *rig) streamed() {
	r.t.Helper()
	r.until("everything is in JetStream", time.Minute, func() bool { return r.inStreams() >= r.appended() })
}

// inStreams counts the messages of both streams.
func (r *rig) inStreams() (n int) {
	r.t.Helper()
	for _, name := range []string{transport.Interactions, transport.Events} {
		s, err := r.js.Stream(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		n += int(s.CachedInfo().State.Msgs)
	}
	return n
}

func (r *rig) wantRows(want int64) {
	r.t.Helper()
	if n := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`); n != want {
		r.t.Errorf("got %d consumer rows, want %d", n, want)
	}
}

// wantUnacked: there are rows whose messages nobody has acknowledged.
func (r *rig) wantUnacked() {
	r.t.Helper()
	rows := r.rows()
	if settled := r.settled(); rows <= settled {
		r.t.Errorf("got %d rows and %d settled messages, want more rows", rows, settled)
	}
}

// settled counts the messages that JetStream will not deliver again.
func (r *rig) settled() (n int64) {
	r.t.Helper()
	for _, info := range r.consumers() {
		n += int64(info.Delivered.Stream) - int64(info.NumAckPending)
	}
	return n
}

func (r *rig) consumers() (all []*jetstream.ConsumerInfo) {
	r.t.Helper()
	for _, d := range transport.Durables(1) {
		c, err := r.js.Consumer(r.t.Context(), d.Stream, d.Config.Durable)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, c.CachedInfo())
	}
	return all
}

// wantBatches holds the number of batches in a state: none, or some.
func (r *rig) wantBatches(state string, least int64) {
	r.t.Helper()
	n := r.count(`SELECT count(*) FROM event_runtime.export_batches WHERE state = $1`, state)
	if n < least || least == 0 && n > 0 {
		r.t.Errorf("got %d batches in state %s, want %d", n, state, least)
	}
}

func (r *rig) wantLedger(want int64) {
	r.t.Helper()
	if n := r.count(`SELECT count(*) FROM event_runtime.audit_ledger`); n != want {
		r.t.Errorf("got %d entries in the ledger, want %d", n, want)
	}
}

// wantMarked: a batch is posting, nothing is known of an answer, and the
// regulator has it or has it not.
func (r *rig) wantMarked(arrived bool) {
	r.t.Helper()
	r.wantBatches("posting", 1)
	if n := r.count(`SELECT count(*) FROM event_runtime.submission_receipts s JOIN event_runtime.export_batches b USING (batch_id) WHERE b.state = 'posting'`); n != 0 {
		r.t.Errorf("got %d receipts of batches that are posting", n)
	}
	if arrived {
		r.until("the regulator has stored it", 10*time.Second, func() bool { return r.regulator.Ledger().Totals.Stored > 0 })
	}
}

// wantDoubt: a batch was given up because its owner was gone, and is cleared up.
func (r *rig) wantDoubt() {
	r.t.Helper()
	given := slices.ContainsFunc(r.history(), func(s step) bool {
		return s.was == "posting" && s.state == "submit_unconfirmed" && s.code == "owner_lost"
	})
	if !given {
		r.t.Errorf("no batch went from posting to submit_unconfirmed for the loss of its owner")
	}
}
