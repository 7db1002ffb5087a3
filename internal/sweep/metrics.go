package sweep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// sight is what one pass over all consumers has seen.
type sight struct {
	gaps   map[string]int64 // by consumer
	oldest time.Time        // everything before it has its place
}

func newSight() *sight { return &sight{gaps: map[string]int64{}} }

func (s *sight) consumer(name string) { s.gaps[name] += 0 }

func (s *sight) gap(consumer string, recorded time.Time) {
	s.gaps[consumer]++
	s.swept(recorded)
}

func (s *sight) swept(until time.Time) {
	if s.oldest.IsZero() || until.Before(s.oldest) {
		s.oldest = until
	}
}

type metrics struct {
	results metric.Int64Counter
	sight   atomic.Pointer[sight] // of the last whole pass
	close   atomic.Pointer[closing]
}

// closing is what the last attempt to close days has seen.
type closing struct {
	differences map[string]int64 // by equation
	overdue     int64            // days that are over and open
}

func newMetrics() (*metrics, error) {
	var m metrics
	var err error
	m.results, err = otel.Meter("event-runtime/sweep").Int64Counter("event_runtime_sweeper_published_total",
		metric.WithDescription("Messages of the sweeper, by what became of them."))
	return &m, err
}

func (m *metrics) published(ctx context.Context, duplicate bool) {
	result := "stored"
	if duplicate {
		result = "duplicate"
	}
	m.results.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

func (m *metrics) failed(ctx context.Context, result string) {
	m.results.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

// export offers what the last pass saw until stop: a process that does not sweep
// knows nothing about it.
func (m *metrics) export(now func() time.Time) (stop func(), err error) {
	meter := otel.Meter("event-runtime/sweep")
	gap, e0 := meter.Int64ObservableGauge("event_runtime_outbox_gap_rows", metric.WithDescription("Events that should have a row at a consumer, and have none."))
	oldest, e1 := meter.Float64ObservableGauge("event_runtime_outbox_oldest_unswept_seconds", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest event that is not known to have its row."))
	difference, e3 := meter.Int64ObservableGauge("event_runtime_books_difference", metric.WithDescription("Events of days that are over for which an equation of the books does not hold."))
	overdue, e4 := meter.Int64ObservableGauge("event_runtime_days_overdue", metric.WithDescription("Days that are over and could not be closed yet."))
	registration, e2 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if last := m.close.Load(); last != nil {
			o.ObserveInt64(overdue, last.overdue)
			for equation, n := range last.differences {
				o.ObserveInt64(difference, n, metric.WithAttributes(attribute.String("equation", equation)))
			}
		}
		seen := m.sight.Load()
		if seen == nil {
			return nil
		}
		for consumer, n := range seen.gaps {
			o.ObserveInt64(gap, n, metric.WithAttributes(attribute.String("consumer", consumer)))
		}
		if !seen.oldest.IsZero() {
			o.ObserveFloat64(oldest, now().Sub(seen.oldest).Seconds())
		}
		return nil
	}, gap, oldest, difference, overdue)
	if err := errors.Join(e0, e1, e2, e3, e4); err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}
