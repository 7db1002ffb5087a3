package intake

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
)

const mostKey = 255 // bytes of a key

// admit looks at a request's headers, and answers with its key.
func admit(r *http.Request) (key string, p *api.Problem) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return "", unsupportedMedia()
	}
	keys := r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return "", keyMissing()
	}
	if len(keys) > 1 || !printable(keys[0], mostKey) {
		return "", keyInvalid()
	}
	return keys[0], nil
}

// read takes the body, up to its limit. It does not go by Content-Length: a
// connection that is closed before the body is read loses the answer too.
func (s *Service) read(w http.ResponseWriter, r *http.Request) ([]byte, *api.Problem) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge(s.cfg.MaxBytes)
	case err != nil:
		return nil, unreadable("the body ended early")
	}
	return body, nil
}

// printable reports 1 to most visible ASCII characters.
func printable(s string, most int) bool {
	return s != "" && len(s) <= most && strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
}

// correlationID is the caller's, unless it cannot be shown; then one of our own.
func correlationID(h http.Header) string {
	if given := h.Get("X-Correlation-Id"); printable(given, 128) {
		if _, personal := denylist.Find(given); !personal {
			return given
		}
	}
	return event.NewID(time.Now()).String()
}
