package capture

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// writers are the goroutines that make the first attempt, each with one
// connection at a time. An attempt may take longer than the call is held: to
// break it off at Config.Wait would cost a connection for every slow commit,
// and the pool is the bank's own.
type writers struct {
	rec  *Recorder
	most int
	hand chan *item // unbuffered: an item is either with its call or with a writer
	quit chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex // guards what follows
	running int
	closed  bool
}

// attemptFor is how long one attempt may take, and with it how long a silent
// database holds a connection.
const attemptFor = 5 * time.Second

func newWriters(r *Recorder, most int) *writers {
	return &writers{rec: r, most: most, hand: make(chan *item), quit: make(chan struct{})}
}

type handover int

const (
	taken handover = iota
	allBusy
	closed
)

// take gives it to a writer. Writers are started as they are needed, and stay.
func (w *writers) take(it *item, timeout <-chan time.Time) handover {
	select {
	case w.hand <- it:
		return taken
	default:
	}
	if w.start(it) {
		return taken
	}
	select {
	case w.hand <- it:
		return taken
	case <-w.quit:
		return closed
	case <-timeout:
		return allBusy
	}
}

func (w *writers) start(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.running == w.most {
		return false
	}
	w.running++
	w.work.Go(func() { w.run(it) })
	return true
}

func (w *writers) run(it *item) {
	for {
		w.write(it)
		select {
		case it = <-w.hand:
		case <-w.quit:
			return
		}
	}
}

// write attempts it once; then the call may go on.
func (w *writers) write(it *item) {
	defer close(it.tried)
	parent := w.rec.ctx
	if it.span.SpanContext().IsValid() {
		parent = trace.ContextWithSpan(parent, it.span)
	}
	ctx, cancel := context.WithTimeout(parent, max(attemptFor, w.rec.cfg.Wait))
	defer cancel()
	switch v, err := w.rec.attempt(ctx, it); v {
	case stored:
		w.rec.stored(it)
	case refused:
		w.rec.lose(it, lostRefused, err)
	default:
		w.rec.postpone(it, err)
	}
}

// close waits for the attempts under way.
func (w *writers) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.quit)
	}
	w.mu.Unlock()
	w.work.Wait()
}
