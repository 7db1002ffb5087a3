package cdc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// statuses are what slot_wal_status may say: those of Postgres, and none.
var statuses = []string{"reserved", "extended", "unreserved", "lost", "missing"}

// sight is what one look has seen.
type sight struct {
	slot     Seen
	oldest   time.Duration // the oldest open transaction that has written
	standbys *bool         // nil: none, or too old for it to mean anything
}

type metrics struct {
	recoveries, ghosts metric.Int64Counter
	open               atomic.Int64
	sight              atomic.Pointer[sight]
}

func newMetrics() (*metrics, error) {
	var m metrics
	var e0, e1 error
	meter := otel.Meter("event-runtime/cdc")
	m.recoveries, e0 = meter.Int64Counter("event_runtime_slot_recovered_total", metric.WithDescription("Losses of the slot that were recovered from, by cause."))
	m.ghosts, e1 = meter.Int64Counter("event_runtime_slot_ghosts_total", metric.WithDescription("Consumer rows whose events a promoted server never had."))
	return &m, errors.Join(e0, e1)
}

func (m *metrics) recovered(ctx context.Context, cause State, ghosts int64) {
	m.recoveries.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", string(cause))))
	m.ghosts.Add(ctx, ghosts)
}

// export offers what the last look saw until stop.
func (m *metrics) export() (stop func(), err error) {
	meter := otel.Meter("event-runtime/cdc")
	active, e0 := meter.Int64ObservableGauge("event_runtime_slot_active", metric.WithDescription("1 while somebody reads the slot."))
	safe, e1 := meter.Float64ObservableGauge("event_runtime_slot_safe_wal_ratio", metric.WithDescription("How much of max_slot_wal_keep_size is left until the slot may be lost."))
	lag, e2 := meter.Int64ObservableGauge("event_runtime_slot_lag_bytes", metric.WithUnit("By"), metric.WithDescription("Log that the slot has yet to confirm."))
	status, e3 := meter.Int64ObservableGauge("event_runtime_slot_wal_status", metric.WithDescription("1 for the status that the slot has."))
	standby, e4 := meter.Int64ObservableGauge("event_runtime_standby_slot_ready", metric.WithDescription("1 while the slot would survive the promotion of any standby."))
	oldest, e5 := meter.Float64ObservableGauge("event_runtime_oldest_transaction_seconds", metric.WithUnit("s"), metric.WithDescription("Age of the oldest open transaction that has written."))
	open, e6 := meter.Int64ObservableGauge("event_runtime_slot_recoveries_open", metric.WithDescription("Losses of the slot whose sweep has not come to its end."))
	registration, e7 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		seen := m.sight.Load()
		if seen == nil {
			return nil
		}
		o.ObserveInt64(active, number(seen.slot.Active))
		o.ObserveInt64(lag, seen.slot.Lag)
		o.ObserveInt64(open, m.open.Load())
		o.ObserveFloat64(oldest, seen.oldest.Seconds())
		if ratio, ok := seen.slot.safeRatio(); ok {
			o.ObserveFloat64(safe, ratio)
		}
		for _, s := range statuses {
			o.ObserveInt64(status, number(s == seen.slot.status()), metric.WithAttributes(attribute.String("status", s)))
		}
		if seen.standbys != nil {
			o.ObserveInt64(standby, number(*seen.standbys))
		}
		return nil
	}, active, safe, lag, status, standby, oldest, open)
	if err := errors.Join(e0, e1, e2, e3, e4, e5, e6, e7); err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister(); m.sight.Store(nil) }, nil
}

func number(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// status is the slot's as the metric has it.
func (s Seen) status() string {
	switch {
	case !s.Exists:
		return "missing"
	case s.Dead():
		return "lost"
	default:
		return s.Status
	}
}

// safeRatio is how much of the limit is left; not ok where there is no limit.
func (s Seen) safeRatio() (ratio float64, ok bool) {
	switch {
	case s.Limit <= 0:
		return 0, false
	case !s.Exists || s.Dead() || s.SafeWAL == nil:
		return 0, true
	default:
		return max(0, min(1, float64(*s.SafeWAL)/float64(s.Limit))), true
	}
}

// Of a transaction we may not ask when it began; the sweeper's samples say which
// numbers had been given out when. One is open when a later one has ended: the
// last of all is seen with the next look, which writes.
const sqlOldest = `
SELECT CASE WHEN pg_snapshot_xmin(s) = pg_snapshot_xmax(s) THEN 0
            ELSE coalesce(extract(epoch FROM @now - (SELECT max(taken_at) FROM event_runtime.sweep_samples WHERE next_xid <= pg_snapshot_xmin(s) AND taken_at <= @now)), 0) END::float8
  FROM pg_current_snapshot() AS s`

// measure keeps what the metrics say.
func (w *Watch) measure(ctx context.Context, now Seen) error {
	var seconds float64
	if err := w.Pool.QueryRow(ctx, sqlOldest, pgx.NamedArgs{"now": w.Now()}).Scan(&seconds); err != nil {
		return fmt.Errorf("measure the oldest transaction: %w", err)
	}
	w.metrics.sight.Store(&sight{slot: now, oldest: time.Duration(seconds * float64(time.Second)), standbys: w.standbys(ctx)})
	return nil
}
