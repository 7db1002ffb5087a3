package app

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// streamGauge offers how full the streams were when they were looked at last. A
// full one stores nothing more, or forgets what is oldest.
type streamGauge struct {
	fill atomic.Pointer[map[string]float64]
}

func newStreamGauge() (*streamGauge, error) {
	g := &streamGauge{}
	_, err := otel.Meter("event-runtime/streams").Float64ObservableGauge("event_runtime_stream_fill_ratio",
		metric.WithDescription("Bytes of a stream, of the most it may have."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			if fill := g.fill.Load(); fill != nil {
				for stream, ratio := range *fill {
					o.Observe(ratio, metric.WithAttributes(attribute.String("stream", stream)))
				}
			}
			return nil
		}))
	return g, err
}
