package bridge

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ requests, rows metric.Int64Counter }

func newMetrics() (*metrics, error) {
	m := otel.Meter("event-runtime/bridge")
	var all metrics
	var errs [2]error
	all.requests, errs[0] = m.Int64Counter("event_runtime_bridge_requests_total", metric.WithDescription("Batches that Sequin posted, by what was answered."))
	all.rows, errs[1] = m.Int64Counter("event_runtime_bridge_published_total", metric.WithDescription("Rows of these batches, by what became of each."))
	return &all, errors.Join(errs[:]...)
}

func (m *metrics) answered(ctx context.Context, code string) {
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("code", code)))
}

func (m *metrics) published(ctx context.Context, s *sent) {
	m.count(ctx, "stored", s.stored)
	m.count(ctx, "duplicate", s.duplicate)
	m.count(ctx, "failed", s.failed)
}

func (m *metrics) parked(ctx context.Context, n int) { m.count(ctx, "parked", n) }

func (m *metrics) count(ctx context.Context, result string, n int) {
	if n > 0 {
		m.rows.Add(ctx, int64(n), metric.WithAttributes(attribute.String("result", result)))
	}
}
