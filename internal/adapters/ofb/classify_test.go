package ofb

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/submit"
)

const (
	idA = "6f1d2c3b-0000-4000-8000-00000000000a"
	idB = "6f1d2c3b-0000-4000-8000-00000000000b"
)

var twoItems = [][]byte{[]byte(`{"role":"CLIENT","correlationId":"one"}`), []byte(`{"role":"SERVER"}`)}

// Each row of the outcome table for answers (docs/outcomes.md).
func TestClassify(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	both := func(first, second string) string {
		return fmt.Sprintf(`[{"reportId":%q,"status":%q,"correlationId":"one"},{"reportId":%q,"status":%q}]`, idA, first, idB, second)
	}
	own := `{"message":"Whatever"}`
	page := `<html><body>Request blocked</body></html>`
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for name, tc := range map[string]struct {
		reply reply
		kind  submit.Kind
		code  submit.Code
		after time.Duration
	}{
		"200, all accepted":             {reply{200, nil, []byte(both("ACCEPTED", "ACCEPTED")), ""}, submit.Answered, submit.Receipts, 0},
		"207, one discarded":            {reply{207, nil, []byte(both("ACCEPTED", "DISCARDED")), ""}, submit.Answered, submit.Receipts, 0},
		"207, all discarded":            {reply{207, nil, []byte(both("DISCARDED", "DISCARDED")), ""}, submit.Answered, submit.Receipts, 0},
		"200 with a discarded item":     {reply{200, nil, []byte(both("ACCEPTED", "DISCARDED")), ""}, submit.Answered, submit.Receipts, 0},
		"a field of a later version":    {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), `"status"`, `"new":1,"status"`, 1)), ""}, submit.Answered, submit.Receipts, 0},
		"200, another status":           {reply{200, nil, []byte(both("ACCEPTED", "PAIRED")), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, one receipt too few":      {reply{200, nil, []byte(`[{"reportId":"` + idA + `","status":"ACCEPTED"}]`), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, an empty array":           {reply{200, nil, []byte(`[]`), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, null":                     {reply{200, nil, []byte(`null`), ""}, submit.Unknown, submit.AnswerUnreadable, 0},
		"200, an object":                {reply{200, nil, []byte(own), ""}, submit.Unknown, submit.AnswerUnreadable, 0},
		"200, cut off":                  {reply{200, nil, []byte(both("ACCEPTED", "ACCEPTED"))[:40], "cut off after 40 bytes"}, submit.Unknown, submit.AnswerUnreadable, 0},
		"200, whole but not JSON":       {reply{200, nil, []byte(both("ACCEPTED", "ACCEPTED"))[:40], ""}, submit.Unknown, submit.AnswerUnreadable, 0},
		"200, bytes behind the array":   {reply{200, nil, []byte(both("ACCEPTED", "ACCEPTED") + "x"), ""}, submit.Unknown, submit.AnswerUnreadable, 0},
		"200, one report id twice":      {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), idB, idA, 1)), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, the same id in capitals":  {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), idB, strings.ToUpper(idA), 1)), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, a report id that is none": {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), idB, "17", 1)), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, eventId for reportId":     {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), "reportId", "eventId", 1)), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, shuffled":                 {reply{200, nil, []byte(strings.Replace(both("ACCEPTED", "ACCEPTED"), `"one"`, `"two"`, 1)), ""}, submit.Unknown, submit.AnswerMismatch, 0},
		"200, compressed":               {reply{200, header("Content-Encoding", "gzip"), []byte(both("ACCEPTED", "ACCEPTED")), ""}, submit.Unknown, submit.AnswerUnreadable, 0},
		"400":                           {reply{400, nil, []byte(own), ""}, submit.Refused, submit.BadRequest, 0},
		"401":                           {reply{401, nil, []byte(own), ""}, submit.Refused, submit.Unauthorized, 0},
		"403":                           {reply{403, nil, []byte(own), ""}, submit.Refused, submit.Forbidden, 0},
		"406":                           {reply{406, nil, []byte(own), ""}, submit.Refused, submit.NotAccepted, 0},
		"413":                           {reply{413, nil, []byte(own), ""}, submit.Refused, submit.TooLarge, 0},
		"415":                           {reply{415, nil, []byte(own), ""}, submit.Refused, submit.WrongMedia, 0},
		"429 with seconds":              {reply{429, header("Retry-After", "7"), []byte(own), ""}, submit.Refused, submit.RateLimited, 7 * time.Second},
		"429 with a date":               {reply{429, header("Retry-After", "Fri, 20 Nov 2026 12:01:00 GMT"), []byte(own), ""}, submit.Refused, submit.RateLimited, time.Minute},
		"429 without":                   {reply{429, nil, []byte(own), ""}, submit.Refused, submit.RateLimited, 0},
		"429 with nonsense":             {reply{429, header("Retry-After", "soon"), []byte(own), ""}, submit.Refused, submit.RateLimited, 0},
		"403 by a firewall":             {reply{403, nil, []byte(page), ""}, submit.Unknown, submit.ForeignAnswer, 0},
		"429 by a gateway":              {reply{429, nil, []byte(`{"message":"slow down","code":17}`), ""}, submit.Unknown, submit.ForeignAnswer, 0},
		"400 with a long message":       {reply{400, nil, []byte(`{"message":"` + strings.Repeat("x", 201) + `"}`), ""}, submit.Unknown, submit.ForeignAnswer, 0},
		"400 with an empty body":        {reply{400, nil, nil, ""}, submit.Unknown, submit.ForeignAnswer, 0},
		"400 cut off":                   {reply{400, nil, []byte(`{"mess`), "cut off after 6 bytes"}, submit.Unknown, submit.AnswerUnreadable, 0},
		"404":                           {reply{404, nil, []byte(own), ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"405":                           {reply{405, nil, []byte(own), ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"408":                           {reply{408, nil, []byte(own), ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"422":                           {reply{422, nil, []byte(own), ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"307":                           {reply{307, header("Location", "/elsewhere"), nil, ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"202":                           {reply{202, nil, []byte(both("ACCEPTED", "ACCEPTED")), ""}, submit.Unknown, submit.UnexpectedStatus, 0},
		"500":                           {reply{500, nil, []byte(own), ""}, submit.Unknown, submit.ServerError, 0},
		"503 with Retry-After":          {reply{503, header("Retry-After", "7"), []byte(own), ""}, submit.Unknown, submit.ServerError, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := classify(tc.reply, twoItems, now)
			if o.Kind != tc.kind || o.Code != tc.code || o.After != tc.after {
				t.Fatalf("got %s/%s after %v (%s), want %s/%s after %v", o.Kind, o.Code, o.After, o.Detail, tc.kind, tc.code, tc.after)
			}
			if string(o.Answer.Raw) != string(tc.reply.body) {
				t.Fatalf("the raw answer was not kept")
			}
			if (o.Kind == submit.Answered) != (len(o.Receipts) == len(twoItems)) {
				t.Fatalf("got %d receipts with %s", len(o.Receipts), o.Kind)
			}
		})
	}
}

func TestClassOfDiscardedItems(t *testing.T) {
	t.Parallel()
	var a Adapter
	for message, want := range map[string]string{
		"Validation error: Report is too old":                           "expired",
		"Timestamp is older than 7 days":                                "expired",
		"Invalid value: timestamp must not be in the future":            "clock",
		"Unlisted endpoint: /open-banking/x":                            "catalogue",
		"Requester id mismatch with clientOrgId":                        "identity",
		"invalid value: Client organization ID not in directory":        "identity",
		"Invalid value: Client SSID not found in combined org IDs":      "identity",
		"Invalid type: httpMethod: Required":                            "schema",
		"Invalid format: : Unrecognized key(s) in object: 'clientSSId'": "schema",
		"Missing property: fapiInteractionId is required":               "schema",
		"Additional property not allowed":                               "schema",
		"Error not mapped or not expected by validations":               "unknown",
		"": "unknown",
		"Invalid type: httpMethod: Required; Unlisted endpoint: /open-banking/x": "schema",
	} {
		if got := a.Class(evidence.Receipt{Message: message}); got != want {
			t.Errorf("%q: got %s, want %s", message, got, want)
		}
	}
}

// Whatever bytes come back: only as many well-formed receipts as items, with
// distinct ids, are evidence.
func FuzzReceipts(f *testing.F) {
	f.Add(200, []byte(`[{"reportId":"`+idA+`","status":"ACCEPTED","correlationId":"one"},{"reportId":"`+idB+`","status":"DISCARDED","message":"Invalid type: x: Required"}]`))
	f.Add(429, []byte(`{"message":"Too Many Requests"}`))
	f.Add(207, []byte(`[{"reportId":null,"status":"ACCEPTED"},[]]`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o := classify(reply{status, http.Header{}, body, ""}, twoItems, time.Now())
		switch o.Kind {
		case submit.Answered:
			if (status != 200 && status != 207) || len(o.Receipts) != 2 || o.Receipts[0].ReportID == o.Receipts[1].ReportID || o.Receipts[0].ReportID.IsZero() {
				t.Fatalf("%d %q counts as receipts %+v", status, body, o.Receipts)
			}
			for _, r := range o.Receipts {
				if r.Accepted != (r.Status == "ACCEPTED") || !strings.Contains(strings.ToLower(string(body)), r.ReportID.String()) {
					t.Fatalf("%q: receipt %+v", body, r)
				}
			}
		case submit.Refused:
			if _, listed := refusals[status]; !listed {
				t.Fatalf("%d counts as a refusal", status)
			}
		case submit.Unknown:
		default:
			t.Fatalf("%d %q is %s", status, body, o.Kind)
		}
	})
}
