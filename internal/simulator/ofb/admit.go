package ofb

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// The limits of a report request. The manual writes "10Mb" and no more; of open
// data it says only that the server has a limit.
const (
	maxBody  = 10 << 20
	maxItems = 5000
	// maxDrain is how much of a refused body is read off, so that the answer reaches
	// a client that is still writing.
	maxDrain = 64 << 20
)

// batch is a request that may be looked into item by item.
type batch struct {
	api    string
	caller claims
	items  []value
	sum    [32]byte
}

// admit checks what is the same for all operations: token, then standing, then rate.
func (s *Server) admit(r *http.Request) (claims, *answer) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return claims{}, own(http.StatusUnauthorized)
	}
	caller, err := s.tokens.verify(strings.TrimSpace(token))
	if err != nil {
		return claims{}, own(http.StatusUnauthorized)
	}
	if m, known := s.registry.byID[caller.Organisation]; !known || m.Blocked {
		return caller, own(http.StatusForbidden)
	}
	now := s.clock.now()
	if wait, ok := s.limiter.admit(caller.Organisation, now); !ok {
		refusal := own(http.StatusTooManyRequests)
		if !s.cfg.NoRetryAfter {
			refusal.retryAfter(wait, false, now)
		}
		return caller, refusal
	}
	if !admitsJSON(r.Header.Values("Accept")) {
		return caller, own(http.StatusNotAcceptable)
	}
	return caller, nil
}

// errCutOff means that the request itself did not arrive whole: nobody to answer.
var errCutOff = errors.New("request body cut off")

// receive checks a report request as a whole, in the order token, rate, Accept,
// Content-Type, size, JSON, array, number of items.
func (s *Server) receive(r *http.Request) (batch, *answer, error) {
	caller, refusal := s.admit(r)
	b := batch{caller: caller}
	if refusal == nil && !isJSON(r.Header) {
		refusal = own(http.StatusUnsupportedMediaType)
	}
	if refusal != nil {
		return b, refusal, drain(r.Body)
	}
	body, small, err := readBody(r)
	switch {
	case err != nil:
		return b, nil, err
	case !small:
		return b, own(http.StatusRequestEntityTooLarge), nil
	}
	b.sum = sha256.Sum256(body)
	list, ok := listOf(body)
	if !ok {
		return b, own(http.StatusBadRequest), nil
	}
	list.elements(func(item value) bool {
		b.items = append(b.items, item)
		return len(b.items) <= maxItems
	})
	if len(b.items) > maxItems {
		return b, own(http.StatusRequestEntityTooLarge), nil
	}
	return b, nil, nil
}

// listOf is the array that body consists of.
func listOf(body []byte) (value, bool) {
	if !json.Valid(body) {
		return value{}, false
	}
	v, _ := first(body)
	return v, v.kind == array
}

// readBody reads at most the limit, counted on the raw body.
func readBody(r *http.Request) (body []byte, small bool, err error) {
	if r.ContentLength > maxBody {
		return nil, false, drain(r.Body)
	}
	body = make([]byte, 0, max(r.ContentLength, 511)+1)
	for {
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > maxBody:
			return nil, false, drain(r.Body)
		case errors.Is(err, io.EOF):
			return body, true, nil
		case err != nil:
			return nil, false, errCutOff
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

func drain(body io.Reader) error {
	if _, err := io.CopyN(io.Discard, body, maxDrain); err != nil && !errors.Is(err, io.EOF) {
		return errCutOff
	}
	return nil
}

// isJSON wants the media type, and the body as it is: compression is documented nowhere.
func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	encoding := h.Get("Content-Encoding")
	return err == nil && mediaType == jsonType && (encoding == "" || strings.EqualFold(encoding, "identity"))
}

// admitsJSON reads Accept as HTTP does: absent admits all, q=0 excludes.
func admitsJSON(accept []string) bool {
	if len(accept) == 0 {
		return true
	}
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		if mediaType == jsonType || mediaType == "application/*" || mediaType == "*/*" {
			return true
		}
	}
	return false
}
