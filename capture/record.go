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
	held := hold(ctx, r.cfg.Wait)
	if err := r.check(it); err != nil { // here, beside the commit of others
		r.conclude(it, judge(err), err)
		return
	}
	if !r.writers.take(it) {
		r.alone(ctx, it)
		return
	}
	soon := min(held, r.writers.slow)
	if it.triedWithin(soon) {
		return
	}
	r.writers.help(it)
	switch {
	case it.triedWithin(held - soon):
	case r.writers.takeBack(it):
		r.postpone(it, context.DeadlineExceeded)
	default:
		r.leave(it, context.DeadlineExceeded) // the writer goes on
	}
}

func (it *item) triedWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-it.tried:
		return true
	case <-timer.C:
		return false
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
	r.attempt(ctx, []*item{it}, func(it *item, v verdict, err error) {
		if v == again {
			r.lose(it, lostClosed, err)
			return
		}
		r.conclude(it, v, err)
	})
}

// conclude does what an attempt's verdict asks for.
func (r *Recorder) conclude(it *item, v verdict, err error) {
	switch v {
	case stored:
		r.stored(it)
	case refused:
		r.lose(it, lostRefused, err)
	default:
		r.postpone(it, err)
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
