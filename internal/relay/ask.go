package relay

import (
	"context"
	"encoding/json"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
)

// streams are those that a message can be for.
var streams = [...]string{transport.Interactions, transport.Events}

const (
	streamMark   = "S" // in the inbox: base 36 is written in small letters
	streamInfo   = "$JS.API.STREAM.INFO."
	answerWithin = 5 * time.Second
)

// ask asks the streams whether they take groups. Who may not ask, or gets no
// answer, goes one by one, which every stream takes.
func (s *session) ask() {
	if s.groups.size() == 1 || !s.nc.IsConnected() {
		return
	}
	for _, name := range streams {
		if s.nc.PublishRequest(streamInfo+name, s.inbox+streamMark+name, nil) != nil {
			return // the connection was just lost; we ask when it is back
		}
	}
}

// askFirst waits for the answers: what was there before us is most of all that
// ever goes in groups.
func (s *session) askFirst(ctx context.Context) {
	s.ask()
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	for range streams {
		if s.groups.size() == 1 || !s.nc.IsConnected() {
			return
		}
		select {
		case <-s.groups.answered:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// heardOfStream reads what a stream says of itself.
func (s *session) heardOfStream(name string, data []byte) {
	var info struct {
		Config struct {
			Atomic bool `json:"allow_atomic"`
		} `json:"config"`
	}
	_ = json.Unmarshal(data, &info) // what cannot be read is no yes
	s.groups.takes(name, info.Config.Atomic)
	select {
	case s.groups.answered <- struct{}{}:
	default: // asked again
	}
}
