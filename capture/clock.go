package capture

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"
)

// clock takes the two times of a client's call. A transport may still report to
// it when the call is long over, hence the atomics.
type clock struct {
	start time.Time
	sent  atomic.Int64 // nanoseconds after start, plus one; 0: not yet
	first atomic.Int64 // likewise
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) mark(at *atomic.Int64) { at.Store(int64(time.Since(c.start)) + 1) }

func (c *clock) read(at *atomic.Int64) (time.Time, bool) {
	marked := at.Load()
	return c.start.Add(time.Duration(marked - 1)), marked > 0
}

// watch asks the transport. It writes the request as soon as it has a
// connection; where it has to write it again on another, that is the call that
// was answered. An informational response is not the response: after one, the
// first byte is taken to be when the header was read.
func (c *clock) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { c.mark(&c.sent); c.first.Store(0) },
		GotFirstResponseByte: func() { c.mark(&c.first) },
		Got1xxResponse:       func(int, textproto.MIMEHeader) error { c.first.Store(0); return nil },
	})
}

// span is when the request left and how long the answer took. A transport that
// does not report, or a call that timed out, is measured from outside.
func (c *clock) span(now time.Time, answered bool) (at time.Time, took time.Duration) {
	at, sent := c.read(&c.sent)
	if !sent {
		at = c.start
	}
	if first, ok := c.read(&c.first); answered && ok {
		now = first
	}
	return at, now.Sub(at)
}
