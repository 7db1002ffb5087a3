package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/post"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// largestPosted is the largest message that Sequin hands to an endpoint.
const largestPosted = 5_000_000

// largest is the largest row that is read as a whole.
func (r *Relay) largest() int {
	if r.plan.webhook != nil {
		return max(r.cfg.WindowBytes, largestPosted)
	}
	return r.cfg.WindowBytes
}

// attach opens the way to the sink.
func (s *session) attach(ctx context.Context) (detach func(), err error) {
	if s.plan.webhook != nil {
		w := s.plan.webhook
		s.backlog = newBacklog(bounds{messages: s.cfg.Window, bytes: s.cfg.WindowBytes, batch: w.batch, retries: w.retries}, rand.Float64)
		s.keep = s.backlog
		return func() {}, nil
	}
	s.keep = s.window
	s.reconnected = s.nc.StatusChanged(nats.CONNECTED)
	stop, err := s.listen()
	if err != nil {
		s.nc.RemoveStatusListener(s.reconnected)
		return nil, err
	}
	s.askFirst(ctx)
	return func() {
		stop()
		s.nc.RemoveStatusListener(s.reconnected)
	}, nil
}

// reachable reports whether an answer can come at all.
func (s *session) reachable() bool { return s.backlog != nil || s.nc.IsConnected() }

// post puts a message into the backlog, and waits for room there. The buffers of
// the reader are used again, so the parcel has copies.
func (f *follower) post(ctx context.Context, t *table, row route.Row, whole, out *outgoing) error {
	p := &parcel{id: string(out.msgID), body: append([]byte(nil), out.body...), to: t.target(row), group: t.groupOf(row.Values)}
	if f.plan.transform != nil && f.plan.webhook.retries > 0 {
		e := entryFor(whole, reason{})
		p.entry = &e
	}
	for !f.backlog.put(p, time.Now()) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.backlog.room:
		}
	}
	return nil
}

// workers are the requests there are at a time, at most: as many as Sequin makes,
// within reason.
func workers() int { return min(2*runtime.GOMAXPROCS(0), 16) }

// serve hands the backlog to the endpoint, a few requests at a time.
func (s *session) serve(ctx context.Context) error {
	client := post.New(s.plan.webhook.endpoint, s.answerWithin, rand.Float64)
	defer client.Close()
	hands, ctx := errgroup.WithContext(ctx)
	hands.SetLimit(workers())
	for ctx.Err() == nil {
		batch, wait := s.backlog.take(time.Now())
		if len(batch) == 0 {
			rest(ctx, s.backlog.kick, wait)
			continue
		}
		hands.Go(func() error { return s.attempt(ctx, client, batch) }) // waits for a hand
	}
	return hands.Wait()
}

func rest(ctx context.Context, kick <-chan struct{}, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-kick:
	case <-t.C:
	}
}

// attempt sends one batch. What was cut off by our own end is no failure.
func (s *session) attempt(ctx context.Context, client *post.Client, batch []*parcel) error {
	bodies := make([][]byte, len(batch))
	for i, p := range batch {
		bodies[i] = p.body
	}
	switch err := client.Send(ctx, *batch[0].to, bodies); {
	case err == nil:
		s.counts.stored.Add(int64(len(batch)))
		s.backlog.taken(batch)
		s.allTaken()
		return nil
	case ctx.Err() == nil:
		return s.refusedBy(ctx, batch, err)
	default:
		return nil
	}
}

// refusedBy notes that the endpoint did not take a batch.
func (s *session) refusedBy(ctx context.Context, batch []*parcel, last error) error {
	s.notTaken(last, len(batch))
	for _, p := range s.backlog.failed(batch, time.Now()) {
		if err := s.giveUp(ctx, p, last); err != nil {
			return err
		}
	}
	return nil
}

// giveUp parks what was tried as often as max_retry_count allows.
func (s *session) giveUp(ctx context.Context, p *parcel, last error) error {
	out := outgoing{msgID: []byte(p.id), subject: []byte(p.to.Path), body: p.body}
	why := reason{event.Undeliverable, "given up by max_retry_count: " + last.Error()}
	e := entryFor(&out, why)
	if p.entry != nil {
		e.TenantID, e.EventID, e.RecordedOn = p.entry.TenantID, p.entry.EventID, p.entry.RecordedOn
	}
	if err := s.parkEntry(ctx, e, why); err != nil {
		return err
	}
	s.backlog.parked(p)
	s.allTaken()
	return nil
}

// notTaken counts failures, and logs the first of a kind.
func (s *session) notTaken(err error, messages int) {
	s.counts.failed.Add(int64(messages))
	code, detail := post.Unreachable, err.Error()
	var f *post.Failure
	if errors.As(err, &f) {
		code, detail = f.Code, f.Detail
	}
	if s.refusal.add(code) {
		s.log.Warn().Str("event", "post.failed").Str("code", code).Str("detail", detail).Send()
	}
}

// allTaken ends what notTaken began.
func (s *session) allTaken() {
	if s.keep.troubled() == 0 && s.refusal.clear() {
		s.log.Info().Str("event", "post.recovered").Send()
	}
}

// watch looks at the slot now and then.
func (s *session) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.look(ctx); err != nil {
				return err
			}
		}
	}
}

// router gives subject and id of a table's rows. For a webhook both are for
// people only, to know a message by in quarantine.
func (p *plan) router(schema, name string, columns []string) route.Router {
	switch {
	case p.webhook != nil:
		id := route.Identify(columns)
		return func(to *route.Routed, row route.Row) {
			to.Subject, to.MsgID = append(to.Subject[:0], p.webhook.target.Path...), id(to.MsgID[:0], row)
		}
	case p.route != nil:
		return p.route(columns)
	default:
		return route.Default(p.database.Name, schema, name)
	}
}

// targets says where the rows of a table with these columns go.
func (w *webhook) targets(columns []string) func(route.Row) *post.Target {
	if w.route == nil {
		return func(route.Row) *post.Target { return &w.target }
	}
	requester := w.route(columns)
	return func(row route.Row) *post.Target {
		r := requester(row)
		to := &post.Target{Method: r.Method, Path: r.Path, Headers: map[string]string{}}
		for name, value := range r.Headers {
			to.Headers[strings.ToLower(name)] = value
		}
		return to
	}
}

// groups gives the columns that make the group of a row.
func (w *webhook) groups(schema, name string, columns []message.Column) (at []int) {
	var keys []string
	for _, c := range columns {
		if c.Key {
			keys = append(keys, c.Name)
		}
	}
	for _, wanted := range w.grouped(schema, name, keys) {
		for i, c := range columns {
			if c.Name == wanted {
				at = append(at, i)
			}
		}
	}
	return at
}

// groupOf is the table and the values of the columns; a group of nothing is none.
func (t *table) groupOf(row []pgoutput.Value) string {
	if len(t.group) == 0 {
		return ""
	}
	var b []byte
	for n, i := range t.group {
		if n > 0 {
			b = append(b, ':')
		}
		b = append(b, row[i].Data...)
	}
	if len(b) == 0 {
		return ""
	}
	return t.name + " " + string(b)
}
