package chaos

import (
	"context"
	"maps"
	"testing"
	"time"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
)

// One event in a hundred is poison, and one bank's reports always fail. The other
// banks' reports wait for neither, the consumers' floors move on, and each
// poisoned event is in quarantine once.
func TestScenario15PoisonAndAFailingTenant(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{
		"whose tokens hang":       {Operation: simulator.OnToken, Kind: simulator.Delay, Delay: simulator.Duration(time.Minute)},
		"whose requests are lost": {Operation: simulator.OnReport, Kind: simulator.LoseRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A slow machine must not look like a bank that fails.
			r := newRig(t, withEnv("OFB_CONNECT_TIMEOUT=4s", "OFB_HANDSHAKE_TIMEOUT=4s", "SUBMIT_POST_WITHIN=4s",
				"SUBMIT_EXCHANGE_TIMEOUT=5s", "SUBMIT_UNCONFIRMED_AFTER=6s", "SUBMIT_ASK_AFTER=11s,11500ms,12s"))
			fails := banks()[0]
			fault.Organisation = fails.organisations[0]
			r.regulator.Inject(fault)
			r.relay()
			r.serve()
			r.wave(30)
			loaded, stop := context.WithCancel(t.Context())
			ended := r.load(loaded, 40, banks()...)
			r.until("the bank failed four times", time.Minute, func() bool { return r.failed(fails) >= 4 })
			stop()
			<-ended
			r.wantOthersUnmoved(fails)
			r.regulator.Heal("")
			r.quiescent()
			r.oracle()
			r.wantQuarantine()
		})
	}
}

// failed counts the attempts of a bank that came to nothing.
func (r *rig) failed(b bank) int64 {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.submission_attempts a JOIN event_runtime.export_batches b USING (batch_id)
		WHERE b.tenant_id = $1 AND a.outcome <> 'receipts'`, b.tenant)
}

// Reports of the others that were answered while a batch of the bank was under
// way or in doubt.
const sqlMeanwhile = `
WITH held AS (
  SELECT h.state, h.at AS since, coalesce(lead(h.at) OVER (PARTITION BY h.batch_id ORDER BY h.seq), 'infinity') AS until
    FROM chaos.history h JOIN event_runtime.export_batches b USING (batch_id) WHERE b.tenant_id = $1)
SELECT count(*) FROM chaos.history h JOIN event_runtime.export_batches b USING (batch_id)
 WHERE b.tenant_id = $2 AND h.state = 'submitted'
   AND EXISTS (SELECT FROM held WHERE held.state IN ('posting', 'submit_unconfirmed') AND h.at > held.since AND h.at < held.until)`

// wantOthersUnmoved: while the bank still fails, everything of the others is
// reported at the first try, and nothing waits at a consumer.
func (r *rig) wantOthersUnmoved(fails bank) {
	r.t.Helper()
	r.until("the others have nothing left to report", time.Minute, func() bool {
		return r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency k WHERE k.outcome = 'accepted' AND k.tenant_id <> $1
			AND NOT EXISTS (SELECT FROM event_runtime.submission_receipts s WHERE s.event_id = k.event_id AND s.accepted)`, fails.tenant) == 0 && r.floored()
	})
	for _, k := range r.regulator.Ledger(simulator.Keys).Keys {
		if k.Organisation == fails.organisations[0] && k.Stored > 0 {
			r.t.Fatalf("the bank that should fail reported %+v", k)
		}
	}
	if n := r.count(`SELECT count(*) FROM event_runtime.export_batches WHERE tenant_id <> $1 AND (state <> 'submitted' OR attempt <> 1)`, fails.tenant); n != 0 {
		r.t.Errorf("%d batches of other banks were not submitted at the first try", n)
	}
	for _, b := range banks()[1:] {
		if n := r.count(sqlMeanwhile, fails.tenant, b.tenant); n == 0 {
			r.t.Errorf("%s reported nothing while %s was under way or in doubt", b.tenant, fails.tenant)
		}
	}
}

// floored reports whether every message of the streams is settled: no poison
// holds a floor.
func (r *rig) floored() bool {
	r.t.Helper()
	for _, d := range transport.Durables(1) {
		stream, err := r.js.Stream(r.t.Context(), d.Stream)
		if err != nil {
			r.t.Fatal(err)
		}
		c, err := stream.Consumer(r.t.Context(), d.Config.Durable)
		if err != nil {
			r.t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumPending != 0 || info.NumAckPending != 0 || info.AckFloor.Stream < stream.CachedInfo().State.LastSeq {
			return false
		}
	}
	return true
}

// wantQuarantine: what was poisoned is set aside, each event once, and nothing
// else is.
func (r *rig) wantQuarantine() {
	r.t.Helper()
	want := map[string]int64{}
	r.mu.Lock()
	for _, s := range r.sent {
		if s.fate == setAside && !s.maybe {
			want[s.reason]++
		}
	}
	r.mu.Unlock()
	rows, err := r.pool.Query(r.t.Context(), `SELECT reason, count(*) FROM event_runtime.quarantine GROUP BY reason`)
	if err != nil {
		r.t.Fatal(err)
	}
	got := map[string]int64{}
	var reason string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&reason, &n}, func() error { got[reason] = n; return nil }); err != nil {
		r.t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("in quarantine are %v, want %v", got, want)
	}
}
