package archive

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
)

// readings shows every instrument of this process.
var readings = metric.NewManualReader()

func TestMain(m *testing.M) {
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(readings)))
	testenv.Main(m)
}

func TestStatementsFitTheSchema(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}
