package submit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/evidence"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct {
	sealedBatches metric.Int64Counter
	attempts      metric.Int64Counter
	took          metric.Float64Histogram
	receipts      metric.Int64Counter
	questions     metric.Int64Counter
	doubt         atomic.Pointer[[]level] // nil: not read
}

func newMetrics() (*metrics, error) {
	m := otel.Meter("event-runtime/submit")
	var all metrics
	var errs [5]error
	all.sealedBatches, errs[0] = m.Int64Counter("event_runtime_batches_sealed_total", metric.WithDescription("Batches sealed, by why they were due."))
	all.attempts, errs[1] = m.Int64Counter("event_runtime_submission_attempts_total", metric.WithDescription("Requests to a regulator, by what became of them."))
	all.took, errs[2] = m.Float64Histogram("event_runtime_submission_seconds", metric.WithUnit("s"), metric.WithDescription("From the marker to the whole answer."))
	all.receipts, errs[3] = m.Int64Counter("event_runtime_submission_receipts_total", metric.WithDescription("Receipts stored, by status and source."))
	all.questions, errs[4] = m.Int64Counter("event_runtime_submission_inquiries_total", metric.WithDescription("Questions about unconfirmed items, by answer."))
	return &all, errors.Join(errs[:]...)
}

func labels(pairs ...string) metric.MeasurementOption {
	set := make([]attribute.KeyValue, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		set = append(set, attribute.String(pairs[i], pairs[i+1]))
	}
	return metric.WithAttributes(set...)
}

func (m *metrics) sealed(ctx context.Context, b *draft) {
	m.sealedBatches.Add(ctx, 1, labels("ecosystem", b.lane.Ecosystem, "reason", b.reason))
}

func (m *metrics) attempted(ctx context.Context, b *row, o Outcome, took time.Duration) {
	m.attempts.Add(ctx, 1, labels("ecosystem", b.Ecosystem, "outcome", string(o.Kind), "code", string(o.Code)))
	m.took.Record(ctx, took.Seconds(), labels("ecosystem", b.Ecosystem))
}

func (m *metrics) received(ctx context.Context, ecosystem, source string, receipts []evidence.Receipt) {
	count := map[bool]int64{}
	for _, r := range receipts {
		count[r.Accepted]++
	}
	m.receipts.Add(ctx, count[true], labels("ecosystem", ecosystem, "status", "accepted", "source", source))
	m.receipts.Add(ctx, count[false], labels("ecosystem", ecosystem, "status", "discarded", "source", source))
}

func (m *metrics) found(ctx context.Context, ecosystem string, n int) {
	m.receipts.Add(ctx, int64(n), labels("ecosystem", ecosystem, "status", "accepted", "source", "lookup"))
}

func (m *metrics) asked(ctx context.Context, ecosystem string, kind FoundKind) {
	m.questions.Add(ctx, 1, labels("ecosystem", ecosystem, "answer", string(kind)))
}
