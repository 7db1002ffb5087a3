package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
)

// Workers that stand still while events keep coming leave a backlog, which is not
// a gap: however often the sweeper looks, and however old it gets in the
// sweeper's eyes, nothing of it is published again.
func TestABacklogIsNeverSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t, sweepsAtOnce)
	r.relay()
	r.serve()
	r.wave(20)
	r.quiescent()
	swept := r.count(`SELECT coalesce(sum(swept), 0) FROM event_runtime.books`)
	for _, d := range transport.Durables(1) {
		if _, err := r.js.PauseConsumer(t.Context(), d.Stream, d.Config.Durable, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	passes := func() int64 { return r.count(`SELECT count(*) FROM event_runtime.sweep_samples`) }
	ctx, stop := context.WithCancel(t.Context())
	loaded := r.load(ctx, 100, banks()...)
	before := passes()
	r.until("the sweeper has looked many times", 2*time.Minute, func() bool { return passes() >= before+40 })
	stop()
	<-loaded
	r.streamed()
	if n := r.inStreams(); n != r.appended() {
		t.Errorf("got %d messages for %d events", n, r.appended())
	}
	for _, d := range transport.Durables(1) {
		if _, err := r.js.ResumeConsumer(t.Context(), d.Stream, d.Config.Durable); err != nil {
			t.Fatal(err)
		}
	}
	r.quiescent()
	if n := r.count(`SELECT coalesce(sum(swept), 0) FROM event_runtime.books`); n != swept {
		t.Errorf("got %d events swept, want none", n-swept)
	}
	r.oracle()
}
