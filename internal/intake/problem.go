package intake

import (
	"fmt"
	"net/http"

	"github.com/finnest/event-runtime/internal/api"
)

// The problems of this route; docs/intake.md lists their codes.

func methodNotAllowed() *api.Problem {
	return api.NewProblem(http.StatusMethodNotAllowed, "method_not_allowed", "Events are posted", "")
}

func unauthorized(h http.Header) *api.Problem {
	if h.Get("Authorization") == "" {
		return api.NewProblem(http.StatusUnauthorized, "token_missing", "A bearer token is needed", "")
	}
	return api.NewProblem(http.StatusUnauthorized, "token_unknown", "The bearer token is not known", "")
}

func unsupportedMedia() *api.Problem {
	return api.NewProblem(http.StatusUnsupportedMediaType, "unsupported_media", "Events are application/json, without a Content-Encoding", "")
}

func keyMissing() *api.Problem {
	return api.NewProblem(http.StatusBadRequest, "key_missing", "The header Idempotency-Key is needed", "make one for each batch, and repeat it with every retry of the batch")
}

func keyInvalid() *api.Problem {
	return api.NewProblem(http.StatusBadRequest, "key_invalid", "The Idempotency-Key cannot be used", fmt.Sprintf("one header of 1 to %d visible ASCII characters", mostKey))
}

func tooLarge(most int64) *api.Problem {
	return api.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body is too large", fmt.Sprintf("at most %d bytes; send several batches", most))
}

func unreadable(detail string) *api.Problem {
	return api.NewProblem(http.StatusBadRequest, "unreadable", "The body is no batch of events", detail)
}

func countOut(most int) *api.Problem {
	return api.NewProblem(http.StatusUnprocessableEntity, "count_out", "A batch has too few or too many events", fmt.Sprintf("1 to %d", most))
}

func foreignTenant(found []api.Refusal) *api.Problem {
	p := api.NewProblem(http.StatusForbidden, "foreign_tenant", "The token is not of the tenant of these events", "nothing was appended")
	p.Refusals = found
	return p
}

func refused(found []api.Refusal) *api.Problem {
	p := api.NewProblem(http.StatusUnprocessableEntity, "events_refused", "Some events cannot be taken", "nothing was appended, and the Idempotency-Key is unused")
	p.Refusals = found
	return p
}

func running() *api.Problem {
	return api.NewProblem(http.StatusConflict, "running", "A request with this Idempotency-Key is being worked on", "ask again")
}

func otherBody() *api.Problem {
	return api.NewProblem(http.StatusUnprocessableEntity, "other_body", "The Idempotency-Key was used with another body", "use a new key for a new batch")
}

func busy() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, "busy", "Too many requests are being worked on", "nothing was appended; repeat the request")
}

func unavailable() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, "unavailable", "The database did not answer", "the batch may have been appended: repeat the request with the same Idempotency-Key")
}

// guide says in headers what a client does next.
func guide(h http.Header, p *api.Problem) {
	switch p.Code {
	case "method_not_allowed":
		h.Set("Allow", http.MethodPost)
	case "token_missing":
		h.Set("WWW-Authenticate", `Bearer realm="event-runtime"`)
	case "token_unknown":
		h.Set("WWW-Authenticate", `Bearer realm="event-runtime", error="invalid_token"`)
	case "running", "busy", "unavailable":
		h.Set("Retry-After", "1")
	}
}
