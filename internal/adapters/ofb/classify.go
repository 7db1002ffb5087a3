package ofb

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/submit"
)

// reply is an answer as received.
type reply struct {
	status     int
	header     http.Header
	body       []byte
	incomplete string // why the body is not whole; "" when it is
}

// refusals are the answers by which the platform itself refuses a request as a
// whole. None of it was stored.
var refusals = map[int]submit.Code{
	http.StatusBadRequest:            submit.BadRequest,
	http.StatusUnauthorized:          submit.Unauthorized,
	http.StatusForbidden:             submit.Forbidden,
	http.StatusNotAcceptable:         submit.NotAccepted,
	http.StatusRequestEntityTooLarge: submit.TooLarge,
	http.StatusUnsupportedMediaType:  submit.WrongMedia,
	http.StatusTooManyRequests:       submit.RateLimited,
}

// classify says what an answer means for items, in order (contract section 4.2
// and 4.3). It is pure: the same bytes always mean the same.
func classify(r reply, items [][]byte, now time.Time) submit.Outcome {
	o := submit.Outcome{Kind: submit.Unknown, Answer: evidence.Answer{Status: r.status, Raw: r.body, ServerDate: serverDate(r.header)}}
	code, refusal := refusals[r.status]
	switch {
	case r.incomplete != "":
		o.Code, o.Detail = submit.AnswerUnreadable, r.incomplete
	case r.header.Get("Content-Encoding") != "" && r.header.Get("Content-Encoding") != "identity":
		o.Code, o.Detail = submit.AnswerUnreadable, "compressed, which was not asked for"
	case r.status == http.StatusOK || r.status == http.StatusMultiStatus:
		return receipts(o, r.body, items)
	case r.status >= 500:
		o.Code = submit.ServerError
	case refusal && ownBody(r.body):
		o.Kind, o.Code, o.After = submit.Refused, code, retryAfter(r.header, now)
		o.Detail = message(r.body)
	case refusal:
		o.Code, o.Detail = submit.ForeignAnswer, "the body is not the platform's: a proxy or firewall may have answered"
	default:
		o.Code = submit.UnexpectedStatus
	}
	return o
}

// ownBody reports GenericError: an object with nothing but a message of at most
// 200 characters.
func ownBody(body []byte) bool {
	var fields map[string]json.RawMessage
	var text string
	return json.Unmarshal(body, &fields) == nil && len(fields) == 1 && json.Unmarshal(fields["message"], &text) == nil && len([]rune(text)) <= 200
}

func message(body []byte) string {
	var e struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &e)
	return denylist.Clean(e.Message)
}

// receipt is ReportResponse.
type receipt struct {
	ReportID      *string `json:"reportId"`
	Status        *string `json:"status"`
	CorrelationID *string `json:"correlationId"`
	Message       *string `json:"message"`
}

// receipts takes an answer as evidence only when every part of it fits: as many
// receipts as items, known statuses, distinct report ids, and the item's own
// correlation id wherever one comes back.
func receipts(o submit.Outcome, body []byte, items [][]byte) submit.Outcome {
	var got []receipt
	if err := json.Unmarshal(body, &got); err != nil || got == nil {
		o.Code, o.Detail = submit.AnswerUnreadable, "not a JSON array of receipts"
		return o
	}
	if len(got) != len(items) {
		o.Code, o.Detail = submit.AnswerMismatch, "another number of receipts than items"
		return o
	}
	seen := make(map[event.ID]bool, len(got))
	all := make([]evidence.Receipt, len(got))
	for n, r := range got {
		var fault string
		if all[n], fault = r.read(items[n]); fault == "" && seen[all[n].ReportID] {
			fault = "a report id appears twice"
		}
		if fault != "" {
			o.Code, o.Detail = submit.AnswerMismatch, fault
			return o
		}
		seen[all[n].ReportID] = true
	}
	o.Kind, o.Code, o.Receipts = submit.Answered, submit.Receipts, all
	return o
}

func (r receipt) read(item []byte) (evidence.Receipt, string) {
	if r.ReportID == nil || r.Status == nil {
		return evidence.Receipt{}, "a receipt without report id or status"
	}
	id, err := event.ParseID(*r.ReportID)
	if err != nil || id.IsZero() {
		return evidence.Receipt{}, "a report id that is no UUID"
	}
	if *r.Status != "ACCEPTED" && *r.Status != "DISCARDED" {
		return evidence.Receipt{}, "a status that cannot be a receipt's"
	}
	if r.CorrelationID != nil {
		var sent struct {
			CorrelationID *string `json:"correlationId"`
		}
		if json.Unmarshal(item, &sent) != nil || sent.CorrelationID != nil && *sent.CorrelationID != *r.CorrelationID {
			return evidence.Receipt{}, "a correlation id that is another item's"
		}
	}
	out := evidence.Receipt{Status: evidence.Status(*r.Status), Accepted: *r.Status == "ACCEPTED", ReportID: id}
	if r.Message != nil {
		out.Message = denylist.Clean(*r.Message)
	}
	return out, ""
}

// retryAfter reads seconds or a date; zero when absent or not understood.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := time.ParseDuration(value + "s"); err == nil && seconds > 0 {
		return seconds
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

func serverDate(h http.Header) time.Time {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// classes sort refused items by the beginnings of their messages: the platform
// has no codes (contract section 10).
var classes = []struct{ prefix, class string }{
	{"Validation error: Report is too old", "expired"}, {"Report is too old", "expired"}, {"Timestamp is older", "expired"},
	{"Invalid value: timestamp must not be in the future", "clock"},
	{"Unlisted endpoint", "catalogue"},
	{"Requester id mismatch", "identity"}, {"OrganisationId doesn't exist", "identity"}, {"invalid value: Client organization ID not in directory", "identity"},
	{"Invalid value: Client SSID not found", "identity"},
	{"Invalid type", "schema"}, {"Invalid format", "schema"}, {"Invalid value", "schema"}, {"Invalid field", "schema"}, {"Missing property", "schema"},
	{"Missing fields", "schema"}, {"Field type mismatch", "schema"}, {"Additional property", "schema"}, {"Validation error", "schema"},
}

// Class says what must be done about a refused item.
func (a *Adapter) Class(r evidence.Receipt) string {
	for _, c := range classes {
		if strings.HasPrefix(r.Message, c.prefix) {
			return c.class
		}
	}
	return "unknown"
}
