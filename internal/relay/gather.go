package relay

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

// gather sends fresh messages: at once while nothing is on its way, and otherwise
// when a group is full or the one before is answered. So nobody waits for
// company, and the slower the server syncs the larger the groups are.
func (s *session) gather(ctx context.Context) error {
	g := &gatherer{session: s, publisher: s.publisher(), open: map[string]*openGroup{}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.groups.more:
		}
		for n := g.may(); n > 0; n = g.may() {
			if err := g.send(n); err != nil {
				return err
			}
		}
	}
}

// gatherer belongs to one goroutine.
type gatherer struct {
	*session
	publisher *publisher
	open      map[string]*openGroup // by stream
	out       outgoing              // the message in hand; a buffer that is used again
}

// openGroup is being sent. Its last message is held back until another one comes
// or there is none: the last one commits.
type openGroup struct {
	group
	number uint64
	last   outgoing
	broken error // what kept one of them from being sent
}

// may is how many fresh messages may go now. Without a connection they stay, and
// that is no failure of theirs.
func (g *gatherer) may() int {
	if !g.nc.IsConnected() {
		return 0
	}
	return g.groups.may(g.window.freshOnes())
}

// send sends the next n fresh messages, those of each stream as one group.
func (g *gatherer) send(n int) error {
	for range n {
		seq, ok := g.window.nextFresh(&g.out)
		if !ok {
			break
		}
		g.add(seq)
	}
	var closed error
	for stream, one := range g.open {
		if err := g.finish(one); err != nil {
			closed = err
		}
		delete(g.open, stream)
	}
	return closed
}

// add takes the message in hand into its stream's group.
func (g *gatherer) add(seq uint64) {
	stream := transport.StreamOf(string(g.out.subject))
	one := g.open[stream]
	if one == nil {
		one = &openGroup{group: group{stream: stream}, number: g.groups.name()}
		g.open[stream] = one
	}
	if len(one.seqs) > 0 {
		g.part(one, false)
		crash.Point("relay_in_group")
	}
	one.seqs = append(one.seqs, seq)
	one.last, g.out = g.out, one.last
}

// part sends the message that was held back.
func (g *gatherer) part(one *openGroup, commit bool) {
	if one.broken != nil {
		return
	}
	p := g.publisher
	p.fill(&one.last)
	p.msg.Reply = ""
	p.msg.Header[headerGroup] = append(p.msg.Header[headerGroup][:0], g.token+strconv.FormatUint(one.number, 36))
	p.msg.Header[headerPlace] = append(p.msg.Header[headerPlace][:0], strconv.Itoa(len(one.seqs)))
	delete(p.msg.Header, headerCommit)
	if commit {
		p.msg.Header[headerCommit] = []string{"1"}
		p.msg.Reply = g.replyTo(one)
	}
	one.broken = g.nc.PublishMsg(&p.msg)
}

// alone sends the only message of a group as what it is.
func (g *gatherer) alone(one *openGroup) {
	p := g.publisher
	p.fill(&one.last)
	for _, name := range []string{headerGroup, headerPlace, headerCommit} {
		delete(p.msg.Header, name)
	}
	p.msg.Reply = g.replyTo(one)
	one.broken = g.nc.PublishMsg(&p.msg)
}

func (g *gatherer) replyTo(one *openGroup) string {
	return g.inbox + groupMark + strconv.FormatUint(one.number, 36)
}

// finish sends the last message, behind which there is an answer. It fails only
// when the connection is closed for good.
func (g *gatherer) finish(one *openGroup) error {
	one.sent = time.Now()
	g.groups.fly(one.number, &one.group)
	if len(one.seqs) == 1 {
		g.alone(one)
	} else {
		g.part(one, true)
	}
	if one.broken == nil {
		return nil
	}
	g.groups.land(one.number)
	switch {
	case errors.Is(one.broken, nats.ErrConnectionClosed):
		return one.broken
	case errors.Is(one.broken, nats.ErrMaxPayload): // it knows which one, when they go alone
		g.window.again(one.seqs)
	default:
		for _, seq := range one.seqs {
			g.window.unsent(seq)
		}
	}
	return nil
}

// heardOfGroup notes what became of a group.
func (s *session) heardOfGroup(number uint64, status string, data []byte) {
	one := s.groups.land(number)
	wake(s.groups.more)
	switch {
	case one == nil: // given up; its messages have gone again
	case len(one.seqs) == 1:
		s.heardOf(one.seqs[0], readAnswer(status, data))
	default:
		a, what := groupAnswer(status, data, len(one.seqs))
		s.decide(one, a, what)
	}
}

func (s *session) decide(one *group, a answer, what fate) {
	s.decided(a)
	switch what {
	case allThere:
		s.counts.stored.Add(int64(len(one.seqs)))
		s.counts.groups.Add(1)
		s.window.settleAll(one.seqs)
		return
	case eachFailed:
		for _, seq := range one.seqs {
			s.window.failed(seq)
		}
		s.notStored(a)
		return
	case noGroups:
		if s.groups.takes(one.stream, false) {
			s.log.Info().Str("event", "publish.ungrouped").Str("stream", one.stream).Str("detail", a.detail).Send()
		}
	case smaller:
		s.groups.shrink()
	case eachAgain:
	}
	s.window.again(one.seqs)
}
