package relay

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// listen opens the inbox for PubAcks: one subscription for all of them, and no
// future for each. The reply subject ends with the message's number.
func (s *session) listen() (stop func(), err error) {
	inbox := s.nc.NewInbox()
	s.inbox, s.token = inbox+".", inbox[strings.LastIndexByte(inbox, '.')+1:]+"-"
	sub, err := s.nc.Subscribe(s.inbox+"*", s.heard)
	if err != nil {
		return nil, fmt.Errorf("listen for acknowledgements: %w", err)
	}
	// There are never more than the window has messages and repeats.
	if err := sub.SetPendingLimits(math.MaxInt32, -1); err != nil {
		return nil, fmt.Errorf("listen for acknowledgements: %w", err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			s.log.Debug().Str("event", "relay.unsubscribe_failed").Err(err).Send()
		}
	}, nil
}

func (s *session) heard(m *nats.Msg) {
	if stream, ok := strings.CutPrefix(m.Subject[len(s.inbox):], streamMark); ok {
		s.heardOfStream(stream, m.Data)
		return
	}
	name, ofGroup := strings.CutPrefix(m.Subject[len(s.inbox):], groupMark)
	number, err := strconv.ParseUint(name, 36, 64)
	if err != nil {
		return // not ours
	}
	status := ""
	if len(m.Header) > 0 {
		status = m.Header.Get("Status")
	}
	if ofGroup {
		s.heardOfGroup(number, status, m.Data)
		return
	}
	s.heardOf(number, readAnswer(status, m.Data))
}

// heardOf notes what became of one message.
func (s *session) heardOf(seq uint64, a answer) {
	s.decided(a)
	switch a.verdict {
	case stored:
		s.counts.stored.Add(1)
		s.window.settle(seq)
	case duplicate:
		s.counts.duplicate.Add(1)
		s.window.settle(seq)
	case neverThere:
		s.window.refused(seq)
	default:
		s.window.failed(seq)
		s.notStored(a)
	}
}

// decided notes that a stream has decided. A server that is cut off from its
// cluster has errors of its own for us.
func (s *session) decided(a answer) {
	if a.code != brokerError && a.code != noStream {
		s.answers.Add(1)
	}
}

// notStored counts a failure, and logs the first of a kind.
func (r *Relay) notStored(a answer) {
	r.counts.failed.Add(1)
	if r.refusal.add(a.code) {
		r.log.Warn().Str("event", "publish.failed").Str("code", a.code).Str("detail", a.detail).Send()
	}
}

// allStored ends what notStored began.
func (r *Relay) allStored() {
	if r.refusal.clear() {
		r.log.Info().Str("event", "publish.recovered").Send()
	}
}

// refusals are the kinds of failures since everything was stored last.
type refusals struct {
	mu    sync.Mutex
	codes []string // a closed set
}

func (r *refusals) add(code string) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.codes, code) {
		return false
	}
	r.codes = append(r.codes, code)
	return true
}

func (r *refusals) clear() (had bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	had = len(r.codes) > 0
	r.codes = nil
	return had
}

func (r *refusals) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.codes) == 0 {
		return ""
	}
	return r.codes[0]
}
