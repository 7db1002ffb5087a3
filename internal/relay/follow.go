package relay

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/route"
)

// follower turns the stream into messages. Everything in it is used again for
// the next row, and belongs to the goroutine that reads.
type follower struct {
	*session
	tables    *tables
	publisher *publisher

	decoded pgoutput.Message
	tx      message.Transaction
	open    bool   // between Begin and Commit
	idx     uint64 // of the next change of the transaction
	body    []byte // the whole message
	picked  []byte // what the transform leaves of it
	to      route.Routed

	backfills backfills
}

// follow reads until ctx ends, or the stream does.
func (s *session) follow(ctx context.Context) error {
	f := &follower{session: s, tables: newTables(s.plan, s.side), publisher: s.publisher()}
	defer f.backfills.close(ctx)
	s.feed.frames.before = f.beforeRead(ctx)
	defer context.AfterFunc(ctx, func() { _ = s.feed.conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		kind, body, err := s.feed.frames.next()
		if err != nil {
			return err
		}
		switch kind {
		case 'd':
			err = f.data(ctx, body)
		case 'E':
			err = serverError(body)
		case 'c', 'C', 'Z':
			err = fmt.Errorf("the server ended the stream")
		}
		if err != nil {
			return err
		}
	}
}

// beforeRead naps where that saves wake-ups, and sets the deadline that ends a
// read from a dead server. The deadline of a context that ended meanwhile stays.
func (f *follower) beforeRead(ctx context.Context) func(bool) error {
	return func(short bool) error {
		wake(f.groups.more) // nothing else is here to wait for
		if short && f.idx >= napAfter {
			time.Sleep(nap) //nolint:forbidigo // it saves wake-ups; a timer would add one
		}
		if err := f.feed.conn.SetReadDeadline(time.Now().Add(silentFor)); err != nil {
			return err
		}
		return ctx.Err()
	}
}

func (f *follower) data(ctx context.Context, body []byte) error {
	switch {
	case len(body) > xlogHead && body[0] == 'w':
		return f.change(ctx, body[xlogHead:])
	case len(body) == 18 && body[0] == 'k':
		// Everything committed before this position has been sent to us.
		if !f.open {
			f.keep.mark(binary.BigEndian.Uint64(body[1:]))
		}
		if body[17] == 1 {
			wake(f.asked)
		}
		return nil
	default:
		return fmt.Errorf("unknown message of the stream, %d bytes", len(body))
	}
}

// change counts as Sequin counts: rows and logical messages of every published
// table have a number in their transaction, whether the sink wants them or not.
func (f *follower) change(ctx context.Context, text []byte) error {
	m := &f.decoded
	if err := pgoutput.Decode(text, m); err != nil {
		return err
	}
	switch m.Kind {
	case pgoutput.Begin:
		f.tx, f.open, f.idx = message.Transaction{LSN: m.LSN, Time: m.Time}, true, 0
	case pgoutput.Commit:
		f.open, f.idx = false, 0
		f.keep.mark(m.End)
	case pgoutput.Relation:
		return f.tables.learn(ctx, &m.Table)
	case pgoutput.Insert:
		f.idx++
		return f.row(ctx, &message.Change{Action: message.Insert, Idx: f.idx - 1, Record: m.New})
	case pgoutput.Update:
		f.idx++
		c := &message.Change{Action: message.Update, Idx: f.idx - 1, Record: m.New}
		if len(m.Old) > 0 && !m.OldIsKey {
			c.Before = m.Old
		}
		return f.row(ctx, c)
	case pgoutput.Delete:
		f.idx++
		return f.row(ctx, &message.Change{Action: message.Delete, Idx: f.idx - 1, Record: m.Old})
	case pgoutput.Truncate:
		f.idx++
	case pgoutput.Logical:
		if f.open && m.Transactional {
			f.idx++
			f.annotate()
			return f.backfill(ctx)
		}
	}
	return nil
}

func (f *follower) annotate() {
	switch string(f.decoded.Prefix) {
	case "sequin:transaction_annotations.set":
		f.tx.Annotations, _ = message.Normalize(f.decoded.Content) // what is no JSON is none
	case "sequin:transaction_annotations.clear":
		f.tx.Annotations = nil
	}
}

// row emits what happened to a row, where the sink wants it.
func (f *follower) row(ctx context.Context, c *message.Change) error {
	t, err := f.tables.find(f.decoded.RelationID)
	if err != nil || t == nil || !f.plan.takes(c.Action) {
		return err
	}
	if len(c.Record) != t.columns || c.Before != nil && len(c.Before) != t.columns {
		return fmt.Errorf("a row of %d columns in table %s, which has %d", len(c.Record), t.name, t.columns)
	}
	f.backfills.saw(t, c.Record)
	return f.emit(ctx, t, &f.tx, c)
}

// emit writes the message of a change and hands it over, or parks it.
func (f *follower) emit(ctx context.Context, t *table, tx *message.Transaction, c *message.Change) error {
	f.body = t.body.Append(f.body[:0], tx, c)
	row := route.Row{Values: c.Record, Action: c.Action, LSN: tx.LSN, Idx: c.Idx}
	if c.Action == message.Read {
		row.Key = t.body.AppendKey(nil, tx, c)
	}
	t.route(&f.to, row)
	whole := outgoing{subject: f.to.Subject, msgID: f.to.MsgID, trace: f.to.Traceparent, body: f.body}
	out := whole
	if f.plan.transform != nil {
		f.picked = f.plan.transform.Append(f.picked[:0], f.body)
		out.body = f.picked
	}
	if why, never := f.unpublishable(&out, c); never {
		f.body = nil // it may have become very large
		return f.park(ctx, &whole, why)
	}
	if f.backlog != nil {
		return f.post(ctx, t, row, &whole, &out)
	}
	return f.publish(ctx, &out)
}

// publish waits for room in the window. What cannot be written to the connection
// waits there for it to come back, and what has a group goes with it.
func (f *follower) publish(ctx context.Context, out *outgoing) error {
	// Behind fresh messages everything is fresh: a stream that takes no groups any
	// more must not get its messages in another order for it.
	take, grouped := f.window.put, f.groups.wanted(out.subject) || f.window.freshOnes() > 0
	if grouped {
		take = f.window.hold
	}
	seq, ok := take(out)
	for !ok {
		wake(f.groups.more)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.window.room:
		}
		seq, ok = take(out)
	}
	var err error
	if !grouped {
		err = f.publisher.send(seq, out)
	} else if f.window.freshOnes() >= f.groups.size() {
		wake(f.groups.more)
	}
	crash.Point("relay_after_publish")
	return err
}
