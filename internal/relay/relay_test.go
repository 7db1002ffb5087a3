package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	var got Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &got, Lookuper: envconfig.MapLookuper(map[string]string{"DATABASE_URL": "postgres://x"})})
	want := Config{DatabaseURL: "postgres://x", Window: 4096, WindowBytes: 2 << 20, Group: 500, AckTimeout: 10 * time.Second, DrainFor: 5 * time.Second, StallFor: time.Minute}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if want != testConfig("postgres://x") {
		t.Errorf("tests run with %+v, want what is shipped", testConfig("postgres://x"))
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "sequin.yaml")
	if err := os.WriteFile(bad, []byte("sinks: [{name: a, colour: red}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"a window without messages":  {func(c *Config) { c.Window = 0 }, "RELAY_WINDOW is 0: give it at least 1"},
		"a window of a few bytes":    {func(c *Config) { c.WindowBytes = 1000 }, "RELAY_WINDOW_BYTES is 1000: give it at least 65536"},
		"no time for an answer":      {func(c *Config) { c.AckTimeout = 0 }, "RELAY_ACK_TIMEOUT is 0s: give it at least 200ms"},
		"groups beyond the server's": {func(c *Config) { c.Group = 1001 }, "RELAY_GROUP is 1001: give it at most 1000"},
		"a file that is not there":   {func(c *Config) { c.File = bad + ".not" }, "read the file named by RELAY_SEQUIN_FILE"},
		"a file that Sequin refuses": {func(c *Config) { c.File = bad }, bad + ": sinks[0].colour: unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig("postgres://x")
			c.change(&cfg)
			_, err := New(cfg, nil, zerolog.Nop())
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "\n", " "), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestCorePublish is the mode of fault tests: it loses what no stream takes, and
// confirms the slot all the same.
func TestCorePublish(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t))
	r.makeSlot()
	r.cfg.CorePublish = true
	wire := r.overhear()
	run := r.start()
	r.append(1, "consent.advanced")
	next(t, wire)
	r.confirmed()
	if got := run.Stats(); got.Stored+got.Failed != 0 {
		t.Errorf("got %+v, want no answer heard", got)
	}
}

// TestMetrics does not run beside others: there is one provider of meters.
func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(provider)
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	r := newRig(t)
	run := r.start()
	r.append(3, "consent.advanced")
	r.wantAll(3)
	r.confirmed()
	await(t, "the position", func() bool { return run.Stats().Confirmed > 0 })
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					result, _ := p.Attributes.Value("result")
					got[m.Name+" "+result.AsString()] = p.Value
				}
			case metricdata.Gauge[int64]:
				got[m.Name] = data.DataPoints[0].Value
			}
		}
	}
	for name, want := range map[string]int64{"stored": 3, "duplicate": 0, "failed": 0, "parked": 0} {
		if n, ok := got["event_runtime_relay_published_total "+name]; !ok || n != want {
			t.Errorf("got %d %s, want %d: %v", n, name, want, got)
		}
	}
	if got["event_runtime_relay_confirmed_lsn"] == 0 {
		t.Errorf("got no position among %v", got)
	}
	if _, ok := got["event_runtime_slot_lag_bytes"]; !ok {
		t.Errorf("got no lag among %v", got)
	}
	run.stop()
	all = metricdata.ResourceMetrics{}
	if err := reader.Collect(t.Context(), &all); err != nil || len(all.ScopeMetrics) != 0 {
		t.Errorf("got %+v, %v after the end, want nothing", all.ScopeMetrics, err)
	}
}
