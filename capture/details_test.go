package capture

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestServerDetails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var header http.Header
	describe := func(c Call) Details {
		header = c.Header
		if body, _ := io.ReadAll(c.Request.Body); len(body) != 0 || c.Request.Form != nil {
			t.Errorf("the hook sees the body")
		}
		if c.Status != 201 || c.Role != "SERVER" || c.Endpoint != "/consents/{id}" || c.InteractionID != anID || c.Took <= 0 {
			t.Errorf("got %+v", c)
		}
		return Details{ClientOrgID: c.Request.PathValue("id"), CorrelationID: "hook", AdditionalInfo: map[string]any{"dropReason": "NONE", "personType": "PF"}}
	}
	mux := routes(map[string]http.HandlerFunc{"POST /consents/{id}": func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		Annotate(r.Context(), Details{AdditionalInfo: map[string]any{"dropReason": "NO_AUTHORITY"}, CorrelationID: "handler"})
		w.Header().Set("X-Kind", "k")
		w.WriteHeader(201)
	}})
	s := serve(t, b.Server(ServerOptions{Details: Details{ServerOrgID: orgB, ClientSSID: orgA}, Describe: describe})(mux))
	call(t, "POST", s.URL+"/consents/"+orgA, "a=b", interactionHeader, anID, "Content-Type", "application/x-www-form-urlencoded")
	got := b.one()
	if got.ClientOrgID != orgA || got.ServerOrgID != orgB || got.CorrelationID != "handler" || got.correlation != "handler" {
		t.Errorf("got %+v", got)
	}
	if got.ClientSSID != "" {
		t.Errorf("a server's record must not have clientSSId")
	}
	if want := `{"dropReason":"NO_AUTHORITY","personType":"PF"}`; string(got.AdditionalInfo) != want {
		t.Errorf("got %s, want %s", got.AdditionalInfo, want)
	}
	if header.Get("X-Kind") != "k" {
		t.Errorf("the hook got %v", header)
	}
}

func TestServerKeepsTheCallWhenDetailsAreBad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		describe func(Call) Details
		event    string
	}{
		"the hook panics": {func(Call) Details { panic("cpf 12345678909") }, "capture.hook_panicked"},
		"an id is none":   {func(Call) Details { return Details{ServerOrgID: "12345678909", ClientOrgID: orgA} }, "capture.detail_dropped"},
		"a field nobody knows": {func(Call) Details {
			return Details{ClientOrgID: orgA, AdditionalInfo: map[string]any{"cpf": "12345678909"}}
		}, "capture.detail_dropped"},
		"what panics as JSON": {func(Call) Details {
			return Details{ClientOrgID: orgA, AdditionalInfo: map[string]any{"rp": exploding{}}}
		}, "capture.detail_dropped"},
		"what JSON cannot hold": {func(Call) Details { return Details{ClientOrgID: orgA, AdditionalInfo: map[string]any{"rp": func() {}}} }, "capture.detail_dropped"},
		"too much": {func(Call) Details {
			return Details{ClientOrgID: orgA, AdditionalInfo: map[string]any{"rp": strings.Repeat("x", 300<<10)}}
		}, "capture.detail_dropped"},
		"personal data as free text": {func(Call) Details { return Details{ClientOrgID: orgA, CorrelationID: "cpf 12345678909"} }, "capture.detail_dropped"},
		"control characters":         {func(Call) Details { return Details{ClientOrgID: orgA, CorrelationID: "a\r\nb\x00"} }, "capture.detail_dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := serve(t, b.Server(ServerOptions{Describe: c.describe})(routes(map[string]http.HandlerFunc{"/x": answer(200, "ok")})))
			for range 2 {
				if _, body := call(t, "GET", s.URL+"/x", ""); body != "ok" {
					t.Fatalf("got %q", body)
				}
			}
			if got := b.Stats().Server; got != (Counts{Captured: 2}) {
				t.Errorf("got %+v, want two captured", got)
			}
			if row := b.db.all()[0]; name != "the hook panics" && row.ClientOrgID != orgA || row.AdditionalInfo != nil || row.CorrelationID != "" {
				t.Errorf("got %+v", row)
			}
			if got := b.log.lines(c.event); len(got) != 1 {
				t.Errorf("got %d lines of %s, want 1: %s", len(got), c.event, b.log)
			}
			if strings.Contains(b.log.String(), "12345678909") {
				t.Errorf("a value is in the log: %s", b.log)
			}
		})
	}
}

type exploding struct{}

func (exploding) MarshalJSON() ([]byte, error) { panic("12345678909") }
