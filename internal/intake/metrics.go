package intake

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ requests, events metric.Int64Counter }

func newMetrics() (*metrics, error) {
	m := otel.Meter("event-runtime/intake")
	var all metrics
	var errs [2]error
	all.requests, errs[0] = m.Int64Counter("event_runtime_intake_requests_total", metric.WithDescription("Requests that post events, by what was answered."))
	all.events, errs[1] = m.Int64Counter("event_runtime_intake_events_total", metric.WithDescription("Events that were appended over HTTP; a replay appends none."))
	return &all, errors.Join(errs[:]...)
}

func (m *metrics) answered(ctx context.Context, code string, a answer) {
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("code", code)))
	if a.problem == nil && !a.replayed {
		m.events.Add(ctx, int64(a.events))
	}
}
