package relay

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/jackc/pgx/v5"
)

const longestSubject = route.LongestSubject

// parkedBy is the consumer that quarantine names for what the relay sets aside.
const parkedBy = quarantine.Unpublished

// unpublishable says why a message can never be published, as far as can be told
// before it is tried.
func (s *session) unpublishable(out *outgoing, c *message.Change) (why reason, never bool) {
	if c.Action != message.Read && s.feed.frames.cut { // parts of the row were left out while it was read
		return reason{event.TooLarge, fmt.Sprintf("a row of more than %d bytes", s.feed.frames.largest)}, true
	}
	if s.backlog != nil {
		return reason{event.TooLarge, fmt.Sprintf("a message of %d bytes, an endpoint gets %d at most", len(out.body), largestPosted)}, len(out.body) > largestPosted
	}
	most, size := s.nc.MaxPayload(), int64(headerSize(out)+len(out.body))
	switch {
	case len(out.subject) > longestSubject:
		return reason{event.SchemaInvalid, fmt.Sprintf("a subject of %d bytes", len(out.subject))}, true
	case !publishable(out.subject):
		return reason{event.SchemaInvalid, "a subject that NATS refuses"}, true
	case most > 0 && size > most: // 0: never connected yet
		return reason{event.TooLarge, fmt.Sprintf("a message of %d bytes, the server's max_payload is %d", size, most)}, true
	case out.size() > s.cfg.WindowBytes:
		return reason{event.TooLarge, fmt.Sprintf("a message of %d bytes, the relay's window is %d", out.size(), s.cfg.WindowBytes)}, true
	default:
		return reason{}, false
	}
}

// publishable reports a subject that a message can have: no empty token, no
// wildcard, no space.
func publishable(subject []byte) bool {
	token := 0
	for _, c := range subject {
		switch {
		case c == '.' && token == 0, c <= ' ', c == '*', c == '>', c == 0x7f:
			return false
		case c == '.':
			token = 0
		default:
			token++
		}
	}
	return token > 0
}

type reason struct {
	event.Reason
	detail string
}

// parkRefused parks a message that a stream has refused for ever.
func (s *session) parkRefused(ctx context.Context, seq uint64, out *outgoing) error {
	detail := fmt.Sprintf("a message of %d bytes, the stream refuses it", headerSize(out)+len(out.body))
	if err := s.park(ctx, out, reason{event.TooLarge, detail}); err != nil {
		return err
	}
	s.window.settle(seq)
	return nil
}

// park commits a row about a message that will never be published; then it
// counts as done. It fails as the connection does, and the next session comes by
// here again.
func (s *session) park(ctx context.Context, out *outgoing, why reason) error {
	return s.parkEntry(ctx, entryFor(out, why), why)
}

func (s *session) parkEntry(ctx context.Context, e quarantine.Entry, why reason) error {
	if err := s.side.park(ctx, e); err != nil {
		return fmt.Errorf("park a message of reason %s: %w", why.Reason, err)
	}
	s.counts.parked.Add(1)
	s.log.Error().Str("event", "event.parked").Str("event_id", e.Key).Str("reason", string(why.Reason)).Str("detail", why.detail).Send()
	return nil
}

func (s *side) park(ctx context.Context, e quarantine.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		_, err := quarantine.Insert(ctx, tx, e)
		return err
	})
}

// entryFor says which event it is, where that can be told, and never what is in it.
func entryFor(out *outgoing, why reason) quarantine.Entry {
	e := quarantine.Entry{
		Stage: quarantine.Ingest, Consumer: parkedBy, Key: string(out.msgID), Reason: string(why.Reason), Detail: why.detail,
		Subject: string(out.subject[:min(len(out.subject), longestSubject)]), Bytes: len(out.body),
	}
	sum := sha256.Sum256(out.body)
	e.SHA256 = sum[:]
	var body struct {
		Record struct {
			TenantID   *string `json:"tenant_id"`
			RecordedOn string  `json:"recorded_on"`
			EventID    string  `json:"event_id"`
		} `json:"record"`
	}
	if json.Unmarshal(out.body, &body) != nil || body.Record.EventID == "" { // a transform has left nothing of it
		if id, err := event.ParseID(string(out.msgID)); err == nil {
			e.EventID = &id
		}
		return e
	}
	if t := body.Record.TenantID; t != nil {
		e.TenantID = strings.ToValidUTF8(*t, "_")
	}
	if id, err := event.ParseID(body.Record.EventID); err == nil {
		e.EventID = &id
	}
	if day, err := time.Parse(time.DateOnly, body.Record.RecordedOn); err == nil {
		e.RecordedOn = &day
	}
	return e
}
