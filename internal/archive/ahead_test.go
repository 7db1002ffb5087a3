package archive

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// daysAhead is what a scrape would see; not ok when there is nothing to see.
func daysAhead(t *testing.T) (days int64, ok bool) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := readings.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, is := m.Data.(metricdata.Gauge[int64]); is && m.Name == "event_runtime_partition_days_ahead" && len(data.DataPoints) > 0 {
				return data.DataPoints[0].Value, true
			}
		}
	}
	return 0, false
}

// waitAhead waits until a scrape would see so.
func waitAhead(t *testing.T, what string, want func(days int64, ok bool) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		days, ok := daysAhead(t)
		if want(days, ok) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: got %d, %v", what, days, ok)
		}
	}
}

// What a process knew that leads no more, or that cannot look, is no alert's
// business: it would stand beside what is true. Not parallel: it reads the meters
// of the whole process.
func TestWhoDoesNotLookExportsNothing(t *testing.T) {
	db := testenv.Postgres(t)
	watch := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		pool := db.Pool("runtime_worker")
		go func() { done <- Watch(ctx, pool, time.Now, zerolog.New(t.Output())) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("at its end: %v", err)
			}
		}
	}
	stop := watch()
	waitAhead(t, "days are measured", func(days int64, ok bool) bool { return ok && days == 1 }) // the template has today and tomorrow
	db.Exec(`REVOKE SELECT ON event_runtime.partition_days FROM runtime_worker`)
	waitAhead(t, "nothing is measured", func(_ int64, ok bool) bool { return !ok })
	db.Exec(`GRANT SELECT ON event_runtime.partition_days TO runtime_worker`)
	waitAhead(t, "days are measured again", func(days int64, ok bool) bool { return ok && days == 1 })
	stop()
	if days, ok := daysAhead(t); ok {
		t.Errorf("got %d days from who no longer leads", days)
	}
}
