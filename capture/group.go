package capture

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

const (
	mostInGroup    = 100     // events of one transaction; more buys no throughput, and holds all of them longer
	mostGroupBytes = 1 << 20 // beyond this no other event joins
)

// cut takes from the head of line what one transaction may hold: at least one
// item, and at most most.
func cut(line []*item, most int) (group, rest []*item) {
	n, bytes := 0, 0
	for n < min(len(line), most) && bytes < mostGroupBytes {
		bytes += line[n].size()
		n++
	}
	group = slices.Clone(line[:n])
	clear(line[:n]) // the rest shares its memory
	return group, line[n:]
}

// told hears what became of one item of an attempt.
type told func(it *item, v verdict, err error)

// attempt stores a group once, and tells of each item what came of it, as soon as
// that is known.
func (r *Recorder) attempt(ctx context.Context, group []*item, tell told) {
	good := make([]*item, 0, len(group))
	for _, it := range group {
		if err := r.check(it); err != nil {
			tell(it, judge(err), err)
			continue
		}
		good = append(good, it)
	}
	r.share(ctx, good, tell)
}

// share is one commit for all of group. What one event may have brought upon the
// others is tried again in halves, each in a transaction of its own, until the one
// is alone: it costs only itself.
func (r *Recorder) share(ctx context.Context, group []*item, tell told) {
	if len(group) == 0 {
		return
	}
	err := r.put(ctx, group)
	if half := len(group) / 2; half > 0 && maybeOne(err) {
		r.share(ctx, group[:half], tell)
		r.share(ctx, group[half:], tell)
		return
	}
	for _, it := range group {
		tell(it, judge(err), err)
	}
}

// put survives a pool that panics. It runs on goroutines of ours, where a panic
// would end the bank's process.
func (r *Recorder) put(ctx context.Context, group []*item) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	return r.store.put(ctx, group)
}

// traced is the recorder's context with the span of the call, for whoever traces
// the database. The transaction of several calls belongs to none of them.
func (r *Recorder) traced(group []*item) context.Context {
	if len(group) == 1 && group[0].span.SpanContext().IsValid() {
		return trace.ContextWithSpan(r.ctx, group[0].span)
	}
	return r.ctx
}
