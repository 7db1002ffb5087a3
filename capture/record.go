package capture

import (
	"context"
	"time"
)

// record turns o into a row, or sees to it that it becomes one. It returns when
// the row is committed, when an attempt failed, or when Config.Wait is over. The
// call's context does not end the attempt: a client that goes away was still a
// call.
func (r *Recorder) record(ctx context.Context, o *observation, d Details) {
	it := r.item(ctx, o, d)
	timer := time.NewTimer(hold(ctx, r.cfg.Wait))
	defer timer.Stop()
	switch r.writers.take(it, timer.C) {
	case taken:
		select {
		case <-it.tried:
		case <-timer.C:
			r.leave(it, context.DeadlineExceeded) // the writer goes on
		}
	case allBusy:
		r.postpone(it, context.DeadlineExceeded)
	case closed:
		r.alone(ctx, it)
	}
}

// hold is how long the call may be held: where its own deadline is near, waiting
// for a database that is away would break it.
func hold(ctx context.Context, most time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if left := time.Until(deadline); ok && left > 0 {
		return min(most, left/2)
	}
	return most
}

// alone records after Close, as far as that goes without help.
func (r *Recorder) alone(ctx context.Context, it *item) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Wait)
	defer cancel()
	switch v, err := r.attempt(ctx, it); v {
	case stored:
		r.stored(it)
	case refused:
		r.lose(it, lostRefused, err)
	default:
		r.lose(it, lostClosed, err)
	}
}

// stored ends an item that is committed.
func (r *Recorder) stored(it *item) {
	if it.state.CompareAndSwap(pending, ended) {
		r.count.captured(it.call.Role)
		return
	}
	r.count.late(it.call.Role)
	r.settled()
}

// leave lets the call go on while the item waits.
func (r *Recorder) leave(it *item, err error) {
	if it.state.CompareAndSwap(pending, waiting) {
		r.count.wait(1)
		r.deferred(err)
	}
}

// postpone leaves it to the background, after an attempt that ended with err.
func (r *Recorder) postpone(it *item, err error) {
	r.leave(it, err)
	if why := r.later.add(it); why != "" {
		r.lose(it, why, err)
	}
}

// settled is called when an item that waited has ended.
func (r *Recorder) settled() {
	if r.count.wait(-1) == 0 {
		r.caughtUp()
	}
}
