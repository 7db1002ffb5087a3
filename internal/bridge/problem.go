package bridge

import (
	"fmt"
	"net/http"

	"github.com/finnest/event-runtime/internal/api"
)

// The problems of this route; docs/sequin.md lists their codes. Sequin takes all
// of them alike: it sends the batch again. They are for the person who looks.

func methodNotAllowed() *api.Problem {
	return api.NewProblem(http.StatusMethodNotAllowed, "method_not_allowed", "Rows are posted", "")
}

func unauthorized(h http.Header) *api.Problem {
	if h.Get("Authorization") == "" {
		return api.NewProblem(http.StatusUnauthorized, "token_missing", "A bearer token is needed", "")
	}
	return api.NewProblem(http.StatusUnauthorized, "token_unknown", "The bearer token is not known", "the header of Sequin's http_endpoint and BRIDGE_TOKEN_REFS name different tokens")
}

func unsupportedMedia() *api.Problem {
	return api.NewProblem(http.StatusUnsupportedMediaType, "unsupported_media", "Rows are application/json, without a Content-Encoding", "")
}

func tooLarge(most int64) *api.Problem {
	return api.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body is too large",
		fmt.Sprintf("at most %d bytes, BRIDGE_BATCH_SIZE times BRIDGE_MAX_MESSAGE_BYTES; the sink's batch_size is larger, or a row is", most))
}

func unreadable(detail string) *api.Problem {
	return api.NewProblem(http.StatusBadRequest, "unreadable", "The body is no batch of rows", detail)
}

// position says where a body stops being a batch, and never what stands there.
func position(at int) string {
	return fmt.Sprintf(`neither {"data": [...]} nor one message, at byte %d`, at)
}

func countOut() *api.Problem {
	return api.NewProblem(http.StatusUnprocessableEntity, "count_out", "A batch has too many rows", fmt.Sprintf("at most %d, Sequin's own limit", mostRows))
}

func busy() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, "busy", "Too many requests are being worked on", "no place within BRIDGE_TIMEOUT; nothing of the batch was published")
}

func notStored() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, "not_stored", "JetStream has not stored all rows", "send the batch again; what is stored is known by its id")
}

func notParked() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, "not_parked", "A row that can never be published could not be set aside", "the database did not answer; send the batch again")
}

// guide says in headers what a client does next. There is no Retry-After: Sequin
// obeys it without a bound, and its worker waits that long.
func guide(h http.Header, p *api.Problem) {
	switch p.Code {
	case "method_not_allowed":
		h.Set("Allow", http.MethodPost)
	case "token_missing":
		h.Set("WWW-Authenticate", `Bearer realm="event-runtime"`)
	case "token_unknown":
		h.Set("WWW-Authenticate", `Bearer realm="event-runtime", error="invalid_token"`)
	}
}

// code is the word for an answer, in metrics and in the log.
func code(p *api.Problem) string {
	if p == nil {
		return "delivered"
	}
	return p.Code
}
