package sweep

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// A heartbeat goes the whole way, and its age is a metric.
func TestTheCanaryArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := &Canary{Pool: r.pool, Now: r.now, Log: zerolog.New(t.Output()), Interval: time.Minute}
	look := func() time.Duration {
		t.Helper()
		if err := c.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.Ages()["ofb"]
	}
	look()
	r.setAhead(3 * time.Minute)
	if age := look(); age < 3*time.Minute {
		t.Errorf("got age %v, want it to grow although none has ever arrived", age)
	}
	r.setAhead(0)
	if err := c.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("canaries", r.count(`SELECT count(*) FROM event_runtime.outbox WHERE tenant_id = 'platform' AND event_type = 'interaction.canary'`), 2)
	r.consume()
	r.pass(2 * time.Minute)
	r.arrived(1)
	r.want("arrived as canary", r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'canary'`), 1)
	r.setAhead(10 * time.Minute)
	if age := look(); age < 10*time.Minute || age > 11*time.Minute {
		t.Errorf("got age %v, want that of the heartbeat", age)
	}
	r.whole()
}

// While everything is made to come to rest there is no heartbeat.
func TestNoCanaryWhileDraining(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.db.Exec(`UPDATE event_runtime.settings SET drain = true`)
	c := &Canary{Pool: r.pool, Now: r.now, Log: zerolog.New(t.Output()), Interval: time.Minute}
	if err := c.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("canaries", r.count(`SELECT count(*) FROM event_runtime.outbox`), 0)
}

// The two loops at work: what they see is exported while they run, and not after.
// It does not run beside others: there is one provider of meters.
func TestWhatIsSeenIsExported(t *testing.T) {
	r := newRig(t)
	r.appendCall(acme, time.Now())
	r.consume()
	r.sweeper.cfg.Interval, r.sweeper.cfg.Grace = 20*time.Millisecond, 10*time.Millisecond
	c := &Canary{Pool: r.pool, Now: time.Now, Log: zerolog.New(t.Output()), Interval: 100 * time.Millisecond}
	stop := background(t, r.sweeper.Run, c.Run)
	var seen map[string]float64
	t.Cleanup(func() { t.Logf("last seen: %v", seen) })
	r.eventually("everything was seen", func() bool {
		seen = gauges(t)
		_, gap := seen["event_runtime_outbox_gap_rows"]
		age, canary := seen["event_runtime_canary_age_seconds"]
		oldest, unswept := seen["event_runtime_outbox_oldest_unswept_seconds"]
		return gap && canary && unswept && oldest > 0 && age < 60 && seen["event_runtime_sweeper_published_total"] > 0 &&
			r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'canary'`) > 1
	})
	stop()
	for _, name := range []string{"event_runtime_outbox_gap_rows", "event_runtime_canary_age_seconds", "event_runtime_outbox_oldest_unswept_seconds"} {
		if _, still := gauges(t)[name]; still {
			t.Errorf("%s is exported by who no longer looks", name)
		}
	}
}

// gauges are all values, the sum over their labels.
func gauges(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := readings.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					got[m.Name] += p.Value
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += float64(p.Value)
				}
			}
		}
	}
	return got
}
