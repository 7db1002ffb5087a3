package capture

import (
	"maps"
	"net/http"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/google/uuid"
)

// interactionHeader pairs the two sides' reports of one call. In canonical form,
// so that maps can be indexed with it.
const interactionHeader = "X-Fapi-Interaction-Id"

type interactionID struct {
	value string
	made  bool // the caller sent none that could be used
}

// interactionOf takes the first usable id of h, or makes one. The value stays as
// it was written: the other side reports it so.
func interactionOf(h http.Header) interactionID {
	for _, value := range h[interactionHeader] {
		if id, err := event.ParseID(value); err == nil && !id.IsZero() {
			return interactionID{value: value}
		}
	}
	return interactionID{value: uuid.NewString(), made: true}
}

// in says that h names id and nothing else.
func (id interactionID) in(h http.Header) bool {
	values := h[interactionHeader]
	return len(values) == 1 && values[0] == id.value
}

// withID gives h with id in it; h itself belongs to somebody else.
func withID(h http.Header, id interactionID) http.Header {
	if id.in(h) {
		return h
	}
	h = maps.Clone(h)
	if h == nil {
		h = http.Header{}
	}
	h[interactionHeader] = []string{id.value}
	return h
}
