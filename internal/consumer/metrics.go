package consumer

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct {
	results    metric.Int64Counter
	quarantine metric.Int64Counter
	conflicts  metric.Int64Counter
	took       metric.Float64Histogram
	again      metric.Int64Counter
}

func newMetrics() (*metrics, error) {
	m := otel.Meter("event-runtime/consumer")
	var all metrics
	var errs [5]error
	all.results, errs[0] = m.Int64Counter("event_runtime_consumer_idempotency_total", metric.WithDescription("Messages, by what became of them."))
	all.quarantine, errs[1] = m.Int64Counter("event_runtime_quarantine_total", metric.WithDescription("Messages set aside for a person."))
	all.conflicts, errs[2] = m.Int64Counter("event_runtime_event_conflicts_total", metric.WithDescription("Events that came again with another payload."))
	all.took, errs[3] = m.Float64Histogram("event_runtime_persist_seconds", metric.WithUnit("s"), metric.WithDescription("One transaction of a hand of messages."))
	all.again, errs[4] = m.Int64Counter("event_runtime_reclassified_total", metric.WithDescription("Events that were set aside and looked at again, by what became of them."))
	return &all, errors.Join(errs[:]...)
}

func (m *metrics) persisted(ctx context.Context, consumer string, met []Decision, took time.Duration) {
	count := map[Reason]int64{}
	for _, d := range met {
		count[d.Reason]++
		if d.Quarantined() && !d.Again {
			m.quarantine.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(d.Reason))))
		}
	}
	m.conflicts.Add(ctx, count[Conflict])
	for reason, n := range count {
		m.results.Add(ctx, n, metric.WithAttributes(attribute.String("consumer", consumer), attribute.String("result", string(reason))))
	}
	m.took.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("consumer", consumer)))
}

func (m *metrics) reclassified(ctx context.Context, consumer string, all []Decision, moved []int) {
	count := map[string]int64{"unchanged": int64(len(all) - len(moved))}
	for _, i := range moved {
		if all[i].Reason == Accepted {
			count["accepted"]++
		} else {
			count["set_aside"]++
		}
	}
	for result, n := range count {
		m.again.Add(ctx, n, metric.WithAttributes(attribute.String("consumer", consumer), attribute.String("result", result)))
	}
}
