package relay

import (
	"errors"
	"strconv"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

// Headers of a message.
const (
	headerMsgID  = nats.MsgIdHdr
	headerStream = nats.ExpectedStreamHdr // ours only: a message that goes elsewhere is an error, not a loss
	headerTrace  = "traceparent"

	headerGroup  = "Nats-Batch-Id"
	headerPlace  = "Nats-Batch-Sequence" // from 1
	headerCommit = "Nats-Batch-Commit"   // on the last: all are stored, or none
)

// subjectsKept bounds the strings kept for subjects; there are few of them.
const subjectsKept = 4096

// publisher hands messages to the connection. It belongs to one goroutine.
type publisher struct {
	*session
	msg      nats.Msg
	subjects map[string]string
}

func (s *session) publisher() *publisher {
	return &publisher{session: s, subjects: map[string]string{}, msg: nats.Msg{
		Header: nats.Header{headerMsgID: {""}, headerStream: {""}},
	}}
}

// send publishes message seq. It fails only when the connection is closed for
// good; what goes wrong otherwise, the window knows.
func (p *publisher) send(seq uint64, out *outgoing) error {
	p.fill(out)
	if p.cfg.CorePublish {
		return p.sent(seq, p.nc.PublishMsg(&p.msg), true)
	}
	p.msg.Reply = p.inbox + strconv.FormatUint(seq, 36)
	return p.sent(seq, p.nc.PublishMsg(&p.msg), false)
}

func (p *publisher) sent(seq uint64, err error, enough bool) error {
	switch {
	case err == nil:
		if enough {
			p.window.settle(seq)
		}
	case errors.Is(err, nats.ErrConnectionClosed):
		return err
	case errors.Is(err, nats.ErrMaxPayload): // less than when it was put into the window
		p.window.refused(seq)
	default: // not connected, or just lost
		p.window.unsent(seq)
	}
	return nil
}

// fill prepares the message. Its bytes are copied before PublishMsg returns.
func (p *publisher) fill(out *outgoing) {
	subject, ok := p.subjects[string(out.subject)]
	if !ok {
		if len(p.subjects) == subjectsKept {
			clear(p.subjects)
		}
		subject = string(out.subject)
		p.subjects[subject] = subject
	}
	p.msg.Subject, p.msg.Data = subject, out.body
	p.msg.Header[headerMsgID][0] = string(out.msgID)
	if stream := transport.StreamOf(subject); stream != "" {
		p.msg.Header[headerStream] = append(p.msg.Header[headerStream][:0], stream)
	} else {
		delete(p.msg.Header, headerStream)
	}
	if len(out.trace) == 0 {
		delete(p.msg.Header, headerTrace)
		return
	}
	p.msg.Header[headerTrace] = append(p.msg.Header[headerTrace][:0], string(out.trace))
}

// headerSize is what the headers of a message take on the wire.
func headerSize(out *outgoing) int {
	const perHeader = len(": \r\n")
	n := len("NATS/1.0\r\n\r\n") + len(headerMsgID) + len(out.msgID) + len(headerStream) + len(transport.StreamOf(string(out.subject))) + 2*perHeader
	if len(out.trace) > 0 {
		n += len(headerTrace) + len(out.trace) + perHeader
	}
	return n
}
