package capture

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	retriers       = 2 // goroutines that try again, and only while there is something to try
	firstPause     = 50 * time.Millisecond
	longestPause   = 5 * time.Second
	mostQueueBytes = 64 << 20
)

// backlog holds the events whose first attempt failed, and tries them again
// until they are stored, too old, or the recorder is closed.
type backlog struct {
	rec  *Recorder
	wake chan struct{} // cuts pauses short when Close begins
	work sync.WaitGroup

	mu      sync.Mutex // guards what follows
	queue   []*item
	held    int // items in the queue, and in the retriers' hands
	bytes   int // of them
	running int // retriers
	closed  bool
}

func newBacklog(r *Recorder) *backlog { return &backlog{rec: r, wake: make(chan struct{}, retriers)} }

// add takes it over, or says why not.
func (b *backlog) add(it *item) lostReason {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return lostClosed
	case b.held >= b.rec.cfg.QueueSize || b.bytes+it.size() > mostQueueBytes:
		return lostQueueFull
	}
	b.queue = append(b.queue, it)
	b.held, b.bytes = b.held+1, b.bytes+it.size()
	if b.running < retriers {
		b.running++
		b.work.Go(b.run)
	}
	return ""
}

// run tries one item after the other until none is left. What fails goes to the
// end: one event that never succeeds must not stop the rest.
func (b *backlog) run() {
	pause := firstPause
	for {
		it := b.next()
		if it == nil {
			return
		}
		if b.try(it) {
			pause = firstPause
			continue
		}
		b.sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, longestPause)
	}
}

// next takes an item in hand, or lets the retrier go.
func (b *backlog) next() *item {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 || b.rec.ctx.Err() != nil {
		b.running--
		return nil
	}
	it := b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	return it
}

// try attempts it once and says whether that was its end.
func (b *backlog) try(it *item) (done bool) {
	size := it.size() // an attempt may make it smaller
	ctx, cancel := context.WithTimeout(b.rec.ctx, attemptFor)
	v, err := b.rec.attempt(ctx, it)
	cancel()
	switch {
	case v == stored:
		b.letGo(size)
		b.rec.stored(it)
	case v == refused:
		b.letGo(size)
		b.rec.lose(it, lostRefused, err)
	case time.Since(it.since) >= b.rec.cfg.RetryFor:
		b.letGo(size)
		b.rec.lose(it, lostGaveUp, err)
	default:
		b.putBack(it, size)
		return false
	}
	return true
}

func (b *backlog) putBack(it *item, was int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += it.size() - was
	b.queue = append(b.queue, it)
}

func (b *backlog) letGo(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held, b.bytes = b.held-1, b.bytes-size
}

func (b *backlog) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.wake:
	case <-b.rec.ctx.Done():
	}
}

// close waits for the retriers; what they leave, because the recorder's context
// has ended, is returned.
func (b *backlog) close() []*item {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	for range retriers {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	b.work.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.queue
	b.queue, b.held, b.bytes = nil, 0, 0
	return left
}
