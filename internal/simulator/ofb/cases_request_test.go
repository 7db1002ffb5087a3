package ofb

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRequestCases are the cases about a request as a whole.
func TestRequestCases(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*testing.T, *bench){
		"case 10: a valid report is accepted and its correlation id comes back": func(t *testing.T, b *bench) {
			r := b.report(araucaria, b.call(someID))
			b.wantReceipts(r, http.StatusOK, "ACCEPTED")
			if got := r.receipts[0].CorrelationID; got != "corr-d78fc4e5" {
				t.Errorf("got correlation id %q, want corr-d78fc4e5", got)
			}
		},
		"case 14: receipts come in the order of the items": func(t *testing.T, b *bench) {
			items := b.calls(3)
			items[1] = items[1].without("httpMethod")
			r := b.report(araucaria, items...)
			b.wantReceipts(r, http.StatusMultiStatus, "ACCEPTED", "Invalid type: httpMethod: Required", "ACCEPTED")
			for i := range items {
				if r.receipts[i].CorrelationID != items[i]["correlationId"] {
					t.Errorf("receipt %d: got %q, want %q", i, r.receipts[i].CorrelationID, items[i]["correlationId"])
				}
			}
		},
		"case 15: also when all items are invalid the answer is 207": func(_ *testing.T, b *bench) {
			b.wantReceipts(b.post(araucaria, `[{}, 7, null]`), http.StatusMultiStatus, "DISCARDED", "Expected object, received number", "Expected object, received null")
		},
		"case 16: an object is no array": func(_ *testing.T, b *bench) {
			for _, body := range []string{`{}`, `"[]"`, ``, `[`, `[] []`, "\uFEFF[]"} {
				b.wantMessage(b.post(araucaria, body), http.StatusBadRequest, "Invalid payload format: MUST be an array")
			}
		},
		"case 17: five thousand items are the limit": func(t *testing.T, b *bench) {
			items := b.calls(maxItems + 1)
			if r := b.report(araucaria, items[1:]...); r.status != http.StatusOK || len(r.receipts) != maxItems {
				t.Errorf("got %d with %d receipts, want 200 with 5000", r.status, len(r.receipts))
			}
			b.wantMessage(b.report(araucaria, items...), http.StatusRequestEntityTooLarge, "Record limit exceeded")
		},
		"case 18: so are ten megabytes, however the body is framed": func(_ *testing.T, b *bench) {
			padded := func(items, size int) string {
				body, _ := json.Marshal(b.calls(items))
				return string(body[:len(body)-1]) + strings.Repeat(" ", size-len(body)) + "]"
			}
			if r := b.post(araucaria, padded(10, maxBody)); r.status != http.StatusOK {
				b.Errorf("got %d (%v) for the limit itself, want 200", r.status, r.err)
			}
			long := padded(4000, maxBody+1)
			b.wantMessage(b.post(araucaria, long), http.StatusRequestEntityTooLarge, "Record limit exceeded")
			chunked := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, long)
			chunked.ContentLength = -1
			b.wantMessage(b.api(araucaria, chunked), http.StatusRequestEntityTooLarge, "Record limit exceeded")
		},
		"case 19: only JSON is taken, and only JSON is given": func(_ *testing.T, b *bench) {
			plain := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, "text/plain", "[]")
			b.wantMessage(b.api(araucaria, plain), http.StatusUnsupportedMediaType, "Unsupported Media Type")
			zipped := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]")
			zipped.Header.Set("Content-Encoding", "gzip")
			b.wantMessage(b.api(araucaria, zipped), http.StatusUnsupportedMediaType, "Unsupported Media Type")
			xml := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]")
			xml.Header.Set("Accept", "application/xml, application/json;q=0")
			b.wantMessage(b.api(araucaria, xml), http.StatusNotAcceptable, "Content type not accepted")
		},
		"case 31: the 301st request of a second waits, and is stored once": func(t *testing.T, b *bench) {
			client := b.client("")
			for range defaultRate {
				req := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]")
				req.Header.Set("Authorization", "Bearer "+b.token(araucaria))
				if r := exchangeKept(client, req); r.status != http.StatusOK {
					t.Fatalf("got %d (%v) below the limit", r.status, r.err)
				}
			}
			r := b.report(araucaria, b.call(someID))
			b.wantMessage(r, http.StatusTooManyRequests, "Too Many Requests")
			seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
			if err != nil || seconds != 1 {
				t.Errorf("got Retry-After %q, want 1", r.header.Get("Retry-After"))
			}
			b.clock.advance(time.Duration(seconds) * time.Second)
			b.wantReceipts(b.report(araucaria, b.call(someID)), http.StatusOK, "ACCEPTED")
			if got := b.sim.Ledger(); got.Totals.Stored != 1 || got.Refused[http.StatusTooManyRequests] != 1 {
				t.Errorf("got %+v, want one stored copy and one refusal", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, Config{}))
		})
	}
}

func TestRequestEdges(t *testing.T) {
	t.Parallel()
	b := start(t, Config{Directory: withBlocked(jatoba), NoRetryAfter: true, RatePerSecond: 8})
	t.Run("both spellings of the path take reports", func(t *testing.T) {
		r := b.api(araucaria, b.request(http.MethodPost, b.sim.APIURL()+reportsPath+"/", jsonType, "[]"))
		if r.status != http.StatusOK || string(r.body) != "[]" {
			t.Errorf("got %d %s, want 200 []", r.status, r.body)
		}
	})
	t.Run("other paths and methods are unknown", func(*testing.T) {
		b.wantMessage(b.api(araucaria, b.request(http.MethodPost, b.sim.APIURL()+"/report-api/v2/report", jsonType, "[]")), http.StatusNotFound, "Not Found")
		b.wantMessage(b.api(araucaria, b.request(http.MethodPut, b.sim.APIURL()+reportsPath+"/"+someID, jsonType, "{}")), http.StatusMethodNotAllowed, "Method Not Allowed")
		b.wantMessage(b.api(araucaria, b.request(http.MethodGet, b.sim.APIURL()+reportsPath, jsonType, "")), http.StatusMethodNotAllowed, "Method Not Allowed")
	})
	t.Run("a blocked organisation is forbidden", func(*testing.T) {
		b.wantMessage(b.report(jatoba), http.StatusForbidden, "Forbidden")
	})
	t.Run("Retry-After may be absent, and one organisation's rate is not another's", func(t *testing.T) {
		var last reply
		for range 9 {
			last = b.post(araucaria, "[]")
		}
		b.wantMessage(last, http.StatusTooManyRequests, "Too Many Requests")
		if got := last.header.Values("Retry-After"); len(got) != 0 {
			t.Errorf("got Retry-After %q, want none", got)
		}
		if r := b.post(ipe, "[]"); r.status != http.StatusOK {
			t.Errorf("got %d for the other organisation, want 200", r.status)
		}
	})
}

func withBlocked(org string) Directory {
	d := DefaultDirectory()
	for i := range d.Organisations {
		d.Organisations[i].Blocked = d.Organisations[i].ID == org
	}
	return d
}
