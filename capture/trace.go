package capture

import (
	"context"
	"net/http"

	"github.com/finnest/event-runtime/internal/event"
	"go.opentelemetry.io/otel/trace"
)

// traceparent is the call's trace: the request's own where it is well-formed,
// else the span under way, else none.
func traceparent(ctx context.Context, h http.Header) string {
	if values := h["Traceparent"]; len(values) == 1 && wellFormed(values[0]) {
		return values[0]
	}
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return ""
	}
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}

// wellFormed adds to the outbox's CHECK what W3C calls invalid.
func wellFormed(s string) bool {
	const noTrace, noSpan = "00000000000000000000000000000000", "0000000000000000"
	return event.ValidTraceparent(s) && s[:2] != "ff" && s[3:35] != noTrace && s[36:52] != noSpan
}
