package capture

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// writers make the first attempts. While one of them commits, the calls that come
// stand in line, and whoever is free next takes all of them into one transaction.
// Nobody waits for company: a call that finds no writer at work gets one at once.
//
// One connection is enough, and makes the largest groups, as long as commits are
// quick. Behind one that is not, another writer takes the line, so that a
// connection that hangs holds up nobody but its own group.
//
// An attempt may take longer than the call is held: to break it off at Config.Wait
// would cost a connection for every slow commit, and the pool is the bank's own.
type writers struct {
	rec      *Recorder
	most     int           // writers at work
	grouping int           // items of one attempt, at most
	slow     time.Duration // a call that stands in line for longer gets another writer
	work     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	line    []*item    // each with its call, which takes it back when it goes on
	running int
	closed  bool
}

const (
	// attemptFor is how long one attempt may take, and with it how long a silent
	// database holds a connection.
	attemptFor = 5 * time.Second

	slowCommit = 50 * time.Millisecond
)

func newWriters(r *Recorder, most int) *writers {
	return &writers{rec: r, most: most, grouping: mostInGroup, slow: slowCommit}
}

// take puts it in line, unless the recorder is closed. A writer ends when the line
// is empty: where one is at work it will look there again.
func (w *writers) take(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.line = append(w.line, it)
	if w.running == 0 {
		w.start()
	}
	return true
}

// help starts another writer, where it still stands in line.
func (w *writers) help(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running < w.most && slices.Contains(w.line, it) {
		w.start()
	}
}

// start must be called with mu held.
func (w *writers) start() {
	w.running++
	group := w.cut()
	w.work.Go(func() {
		for ; len(group) > 0; group = w.next() {
			w.write(group)
		}
	})
}

// next is what has gathered; or nothing, and the writer ends.
func (w *writers) next() []*item {
	runtime.Gosched() // no wait: calls that are ready to stand in line do so, above all those just let go
	w.mu.Lock()
	defer w.mu.Unlock()
	group := w.cut()
	if len(group) == 0 {
		w.running--
	}
	return group
}

func (w *writers) cut() (group []*item) {
	group, w.line = cut(w.line, w.grouping)
	return group
}

// takeBack says whether it still stood in line.
func (w *writers) takeBack(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.line, it)
	if at >= 0 {
		w.line = slices.Delete(w.line, at, at+1)
	}
	return at >= 0
}

// write attempts a group once; then its calls may go on.
func (w *writers) write(group []*item) {
	ctx, cancel := context.WithTimeout(w.rec.traced(group), max(attemptFor, w.rec.cfg.Wait))
	defer cancel()
	w.rec.attempt(ctx, group, func(it *item, v verdict, err error) {
		w.rec.conclude(it, v, err)
		close(it.tried)
	})
}

// close waits for the attempts under way, and for those who stand in line.
func (w *writers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.work.Wait()
}
