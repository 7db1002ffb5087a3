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
	it.prepared, it.weight = nil, it.size() // what waits is not kept twice
	b.queue = append(b.queue, it)
	b.held, b.bytes = b.held+1, b.bytes+it.weight
	if b.running < retriers {
		b.running++
		b.work.Go(b.run)
	}
	return ""
}

// run tries until nothing is left: one item, and twice as many each time that all
// of them end. What fails goes to the end, and the next one is tried alone: one
// event that never succeeds must not stop the rest, whatever it does to its group.
func (b *backlog) run() {
	pause, most := firstPause, 1
	for {
		group := b.next(most)
		if len(group) == 0 {
			return
		}
		if b.try(group) {
			pause, most = firstPause, min(2*most, mostInGroup)
			continue
		}
		b.sleep(pause/2 + rand.N(pause))
		pause, most = min(2*pause, longestPause), 1
	}
}

// next takes items in hand, or lets the retrier go.
func (b *backlog) next(most int) []*item {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 || b.rec.ctx.Err() != nil {
		b.running--
		return nil
	}
	var group []*item
	group, b.queue = cut(b.queue, most)
	return group
}

// try attempts a group once and says whether that was the end of all of it.
func (b *backlog) try(group []*item) (done bool) {
	ctx, cancel := context.WithTimeout(b.rec.ctx, attemptFor)
	defer cancel()
	done = true
	b.rec.attempt(ctx, group, func(it *item, v verdict, err error) {
		switch {
		case v == again && time.Since(it.since) < b.rec.cfg.RetryFor:
			b.putBack(it)
			done = false
		case v == again:
			b.letGo(it)
			b.rec.lose(it, lostGaveUp, err)
		default:
			b.letGo(it)
			b.rec.conclude(it, v, err)
		}
	})
	return done
}

func (b *backlog) putBack(it *item) {
	it.prepared = nil
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, it)
}

func (b *backlog) letGo(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held, b.bytes = b.held-1, b.bytes-it.weight
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
