package ofb

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ refreshes metric.Int64Counter }

func newMetrics() (*metrics, error) {
	counter, err := otel.Meter("event-runtime/ofb").Int64Counter("event_runtime_token_refresh_total", metric.WithDescription("Requests for a token, by result."))
	return &metrics{counter}, err
}

func (m *metrics) refreshed(ctx context.Context, result string) {
	m.refreshes.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}
