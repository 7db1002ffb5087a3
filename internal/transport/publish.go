package transport

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamOf says which of our streams keeps a subject that is published to; "" for
// a subject whose stream is somebody else's.
func StreamOf(subject string) string {
	switch {
	case strings.HasPrefix(subject, "interactions."):
		return Interactions
	case strings.HasPrefix(subject, "events."):
		return Events
	default:
		return ""
	}
}

// messageTooLarge is an error code of nats-server.
const messageTooLarge = 10054

// TooLarge reports that a message can never be published: the server or its
// stream takes none of this size.
func TooLarge(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &refused) && refused.ErrorCode == messageTooLarge
}
