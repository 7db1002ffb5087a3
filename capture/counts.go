package capture

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/finnest/event-runtime/internal/event"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Stats says what became of calls. A recordable call is counted in exactly one
// of Captured, Late and Lost, or it is still Waiting.
type Stats struct {
	Server, Client Counts
	Waiting        int // events that wait for another attempt
}

// Counts are the calls of one role.
type Counts struct {
	Captured int64 // committed before the answer was let go
	Late     int64 // committed afterwards
	Lost     int64 // not committed, as far as we know
	Skipped  int64 // not recorded, for a reason that the metric names
}

type lostReason string

// Why an event was lost.
const (
	lostRefused   lostReason = "refused" // its content can never be stored
	lostQueueFull lostReason = "queue_full"
	lostGaveUp    lostReason = "gave_up"
	lostClosed    lostReason = "closed" // the program ended first
)

type skipReason string

// Why a call was not recorded.
const (
	skipUnmatched skipReason = "unmatched"          // no route, and no hook that knew better
	skipByHook    skipReason = "by_hook"            // NotRecorded
	skipMalformed skipReason = "endpoint_malformed" // the template fits no endpoint
	skipConcrete  skipReason = "endpoint_concrete"  // it is a path, with somebody's id in it
	skipMethod    skipReason = "method"             // not three to ten capitals
	skipStatus    skipReason = "status"             // outside 100 to 599
	skipNoAnswer  skipReason = "no_answer"          // a client without an answer and without a timeout
)

type tally struct{ captured, late, lost, skipped atomic.Int64 }

type counts struct {
	server, client tally
	waits          atomic.Int64

	capturedTotal, lateTotal, lostTotal, skippedTotal metric.Int64Counter
	waiting                                           metric.Int64UpDownCounter
	asServer, asClient                                metric.MeasurementOption
}

func newCounts() (*counts, error) {
	m := otel.Meter("event-runtime/capture")
	c := &counts{asServer: labels(event.Server, ""), asClient: labels(event.Client, "")}
	var errs [5]error
	c.capturedTotal, errs[0] = m.Int64Counter("event_runtime_capture_captured_total", metric.WithDescription("Calls committed before their answer was let go."))
	c.lateTotal, errs[1] = m.Int64Counter("event_runtime_capture_late_total", metric.WithDescription("Calls committed by a background attempt."))
	c.lostTotal, errs[2] = m.Int64Counter("event_runtime_capture_lost_total", metric.WithDescription("Calls without a row, by reason. Any is an alert."))
	c.skippedTotal, errs[3] = m.Int64Counter("event_runtime_capture_skipped_total", metric.WithDescription("Calls that are not recorded, by reason."))
	c.waiting, errs[4] = m.Int64UpDownCounter("event_runtime_capture_waiting", metric.WithDescription("Calls in memory that wait for a background attempt."))
	return c, errors.Join(errs[:]...)
}

func labels(role event.Role, reason string) metric.MeasurementOption {
	set := []attribute.KeyValue{attribute.String("role", string(role))}
	if reason != "" {
		set = append(set, attribute.String("reason", reason))
	}
	return metric.WithAttributeSet(attribute.NewSet(set...))
}

func (c *counts) tally(role event.Role) (*tally, metric.MeasurementOption) {
	if role == event.Client {
		return &c.client, c.asClient
	}
	return &c.server, c.asServer
}

func (c *counts) of(role event.Role) Counts {
	t, _ := c.tally(role)
	return Counts{Captured: t.captured.Load(), Late: t.late.Load(), Lost: t.lost.Load(), Skipped: t.skipped.Load()}
}

func (c *counts) captured(role event.Role) {
	t, label := c.tally(role)
	t.captured.Add(1)
	c.capturedTotal.Add(context.Background(), 1, label)
}

func (c *counts) late(role event.Role) {
	t, label := c.tally(role)
	t.late.Add(1)
	c.lateTotal.Add(context.Background(), 1, label)
}

func (c *counts) lost(role event.Role, why lostReason) {
	t, _ := c.tally(role)
	t.lost.Add(1)
	c.lostTotal.Add(context.Background(), 1, labels(role, string(why)))
}

func (c *counts) skipped(role event.Role, why skipReason) {
	t, _ := c.tally(role)
	t.skipped.Add(1)
	c.skippedTotal.Add(context.Background(), 1, labels(role, string(why)))
}

// wait adds to the calls that wait, and says how many that makes.
func (c *counts) wait(n int64) int64 {
	c.waiting.Add(context.Background(), n)
	return c.waits.Add(n)
}
