package submit

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Readings shows every instrument of this process.
var Readings = metric.NewManualReader()

func TestMain(m *testing.M) {
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(Readings)))
	testenv.Main(m)
}
