package capture

import (
	"context"
	"maps"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Not parallel: the provider of meters is the process's.
func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	b := newBench(t, func(c *Config) { c.QueueSize = 1 })
	otel.SetMeterProvider(before)
	b.ask()
	b.Server(ServerOptions{})(http.NotFoundHandler()).ServeHTTP(nowhere{http.Header{}}, must(http.NewRequestWithContext(t.Context(), "GET", "/", nil)))
	b.db.begin = func(context.Context) error {
		if b.db.up.Load() {
			return nil
		}
		return errAway
	}
	b.ask()
	b.ask()
	want := map[string]int64{
		"event_runtime_capture_captured_total role=SERVER":                 1,
		"event_runtime_capture_skipped_total reason=unmatched,role=SERVER": 1,
		"event_runtime_capture_lost_total reason=queue_full,role=SERVER":   1,
		"event_runtime_capture_waiting ":                                   1,
	}
	if got := collect(t, reader); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b.db.up.Store(true)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	want["event_runtime_capture_late_total role=SERVER"], want["event_runtime_capture_waiting "] = 1, 0
	if got := collect(t, reader); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// collect gives each series by its name and labels.
func collect(t *testing.T, reader metric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	series := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				series[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
			}
		}
	}
	return series
}
