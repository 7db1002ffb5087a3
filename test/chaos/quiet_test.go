package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
)

// noCancel is for what must still be done when the test is over.
func noCancel(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

const (
	stillFor    = 2 * time.Second // nothing changes for so long
	quietWithin = 2 * time.Minute // or something hangs
)

// A backlog is what has not come to rest.
type backlog struct {
	Arriving int64 // owed to a consumer
	Waiting  int64 // in chunks
	Sending  int64 // sealed or posting
	Askable  int64 // unconfirmed, or presumed and asked about again
	Unacked  int64 // with JetStream
	Spooled  int64 // answers on disk
}

const sqlBacklog = `
SELECT (SELECT count(*) FROM event_runtime.outbox o
         WHERE EXISTS (SELECT FROM event_runtime.entitlements e WHERE e.ecosystem = o.ecosystem AND starts_with(o.event_type, e.family || '.') AND o.event_id >= e.since
                          AND NOT EXISTS (SELECT FROM event_runtime.consumer_idempotency k
                                           WHERE k.tenant_id = o.tenant_id AND k.recorded_on = o.recorded_on AND k.event_id = o.event_id AND k.consumer = e.consumer)
                          AND NOT EXISTS (SELECT FROM event_runtime.quarantine q WHERE q.event_id = o.event_id AND q.stage = 'ingest' AND q.consumer = e.consumer))),
       (SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks),
       (SELECT count(*) FROM event_runtime.export_batches WHERE state IN ('sealed', 'posting')),
       (SELECT count(*) FROM event_runtime.export_batches WHERE NOT needs_person AND (state = 'submit_unconfirmed' OR ask_at IS NOT NULL))`

// What changes whenever anything does.
const sqlTrace = `
SELECT concat_ws(' ', (SELECT count(*) FROM event_runtime.outbox), (SELECT sum(accepted + ineligible + quarantined + duplicates + conflicts) FROM event_runtime.books),
  (SELECT count(*) FROM event_runtime.quarantine), (SELECT max(seq) FROM chaos.history), (SELECT count(*) FROM event_runtime.submission_attempts),
  (SELECT count(*) FROM event_runtime.submission_inquiries), (SELECT count(*) FROM event_runtime.submission_receipts), (SELECT max(changed_at) FROM event_runtime.export_batches))`

// look reads the backlog and a trace of everything; the database may be away.
func (r *rig) look(ctx context.Context) (b backlog, trace string, err error) {
	if err = r.pool.QueryRow(ctx, sqlBacklog).Scan(&b.Arriving, &b.Waiting, &b.Sending, &b.Askable); err != nil {
		return b, "", err
	}
	if err = r.pool.QueryRow(ctx, sqlTrace).Scan(&trace); err != nil {
		return b, "", err
	}
	for _, d := range transport.Durables(1) {
		c, err := r.js.Consumer(ctx, d.Stream, d.Config.Durable)
		if err != nil {
			return b, "", err
		}
		info := c.CachedInfo()
		b.Unacked += int64(info.NumPending) + int64(info.NumAckPending)
	}
	b.Spooled = int64(len(r.spooled()))
	return b, fmt.Sprint(trace, " ", b, " ", r.regulator.Ledger().Totals), nil
}

// quiescent waits until nothing is in flight or owed and nothing has changed for
// a while. As long as something is asked about, a control keeps reporting:
// without it an absence proves nothing.
func (r *rig) quiescent() {
	r.t.Helper()
	ctx := r.t.Context()
	late := time.NewTimer(quietWithin)
	defer late.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	var still, told time.Time
	for {
		b, trace, err := r.look(ctx)
		if now := time.Now(); err != nil || trace != last {
			last, still = trace, now
		}
		if err == nil && b == (backlog{}) && time.Since(still) >= stillFor {
			return
		}
		if b.Askable > 0 && time.Since(told) >= time.Second {
			told = time.Now()
			_ = r.appendCalls(ctx, r.call, control())
		}
		select {
		case <-tick.C:
		case <-late.C:
			r.t.Fatalf("not quiet after %v: %+v, %v", quietWithin, b, err)
		case <-ctx.Done():
			r.t.Fatal(ctx.Err())
		}
	}
}
