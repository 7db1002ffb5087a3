package relay

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counts are read when somebody asks: a row must not pay for them.
type counts struct {
	stored, duplicate, failed, parked atomic.Int64
	groups                            atomic.Int64
	read                              atomic.Int64 // by backfills

	confirmed atomic.Uint64 // log position
	lag       atomic.Int64  // bytes of log that Postgres keeps for the slot
	recreated atomic.Int64  // slots that were made in place of lost ones
}

// Stats is what the relay has done since it was made.
type Stats struct {
	Stored    int64  // messages that a stream has taken
	Duplicate int64  // that it had before
	Failed    int64  // answers that mean: again
	Parked    int64  // messages that nobody will ever take
	Groups    int64  // atomic batches that a stream has taken
	Read      int64  // rows that backfills have found
	Confirmed uint64 // position of the slot
	LagBytes  int64  // log between there and now
	Recreated int64  // slots made in place of lost ones
}

// Stats gives the numbers behind the metrics.
func (r *Relay) Stats() Stats {
	c := &r.counts
	return Stats{
		Stored: c.stored.Load(), Duplicate: c.duplicate.Load(), Failed: c.failed.Load(), Parked: c.parked.Load(), Groups: c.groups.Load(), Read: c.read.Load(),
		Confirmed: c.confirmed.Load(), LagBytes: c.lag.Load(), Recreated: c.recreated.Load(),
	}
}

// export offers the counts until stop.
func (c *counts) export() (stop func(), err error) {
	m := otel.Meter("event-runtime/relay")
	published, e0 := m.Int64ObservableCounter("event_runtime_relay_published_total", metric.WithDescription("Answers to published messages, by what became of the message."))
	confirmed, e1 := m.Int64ObservableGauge("event_runtime_relay_confirmed_lsn", metric.WithDescription("How far the slot is confirmed."))
	lag, e2 := m.Int64ObservableGauge("event_runtime_slot_lag_bytes", metric.WithUnit("By"), metric.WithDescription("Log that the slot has yet to confirm."))
	groups, e4 := m.Int64ObservableCounter("event_runtime_relay_groups_total", metric.WithDescription("Atomic batches that a stream has taken."))
	recreated, e5 := m.Int64ObservableCounter("event_runtime_slot_recreated_total", metric.WithDescription("Slots that the relay made in place of lost ones."))
	read, e6 := m.Int64ObservableCounter("event_runtime_relay_backfilled_total", metric.WithDescription("Rows that backfills have handed over."))
	registration, e3 := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for result, n := range map[string]*atomic.Int64{"stored": &c.stored, "duplicate": &c.duplicate, "failed": &c.failed, "parked": &c.parked} {
			o.ObserveInt64(published, n.Load(), metric.WithAttributes(attribute.String("result", result)))
		}
		o.ObserveInt64(confirmed, int64(c.confirmed.Load()))
		o.ObserveInt64(lag, c.lag.Load())
		o.ObserveInt64(groups, c.groups.Load())
		o.ObserveInt64(recreated, c.recreated.Load())
		o.ObserveInt64(read, c.read.Load())
		return nil
	}, published, confirmed, lag, groups, recreated, read)
	if err := errors.Join(e0, e1, e2, e3, e4, e5, e6); err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}
