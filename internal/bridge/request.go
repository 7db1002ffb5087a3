package bridge

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/finnest/event-runtime/internal/api"
)

// admit looks at a request's headers.
func (s *Service) admit(r *http.Request) *api.Problem {
	if r.Method != http.MethodPost {
		return methodNotAllowed()
	}
	if !s.tokens.known(api.Bearer(r.Header)) {
		return unauthorized(r.Header)
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return unsupportedMedia()
	}
	return nil
}

// read takes the body, up to its limit.
func (s *Service) read(w http.ResponseWriter, r *http.Request) ([]byte, *api.Problem) {
	most := s.cfg.mostBytes()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge(most)
	case err != nil:
		return nil, unreadable("the body ended early")
	}
	return body, nil
}

// batchOf gives the messages of a body.
func batchOf(body []byte) ([][]byte, *api.Problem) {
	rows, at := split(body)
	switch {
	case at >= 0:
		return nil, unreadable(position(at))
	case len(rows) > mostRows:
		return nil, countOut()
	}
	return rows, nil
}
