package consumer

import (
	"flag"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
)

// readings shows every instrument of this process: what labels carry is a sink
// like any other.
var readings = metric.NewManualReader()

func TestMain(m *testing.M) {
	// Most of these tests wait for a server; -parallel still has the last word.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(readings)))
	testenv.Main(m)
}
