package intake

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
)

// What is decoded is what encoding/json reads too, event by event, and a refusal
// names nothing but a place.
func FuzzDecode(f *testing.F) {
	for _, tc := range answers() {
		if len(tc.call.body) < 1<<12 {
			f.Add([]byte(tc.call.body))
		}
	}
	f.Add([]byte(batch(plain, of(`"tenant_id":"acme-bank","version":1,"subject":null,"occurred_at":"2026-01-02T03:04:05Z"`))))
	s := &Service{cfg: Config{MaxEvents: 100}}
	known := []string{"event", "byte"}
	for name := range members {
		known = append(known, name)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		events, p := s.decode(bytes.Clone(text), "acme-bank")
		if p != nil {
			for _, r := range p.Refusals {
				if top, _, _ := bytes.Cut([]byte(r.Field), []byte(".")); !slices.Contains(known, string(bytes.Fields(top)[0])) {
					t.Errorf("%s: a refusal names %q", p.Code, r.Field)
				}
			}
			return
		}
		var want struct {
			Events []struct {
				EventID string          `json:"event_id"`
				Type    string          `json:"event_type"`
				Source  string          `json:"source"`
				Payload json.RawMessage `json:"payload"`
			}
		}
		if err := json.Unmarshal(text, &want); err != nil || len(want.Events) != len(events) {
			t.Fatalf("got %d events, want %d, %v", len(events), len(want.Events), err)
		}
		for i, e := range events {
			w := want.Events[i]
			if e.TenantID != "acme-bank" || e.ID != w.EventID || e.Type != w.Type || e.Source != w.Source {
				t.Errorf("event %d: got %+v, want %+v", i, e, w)
			}
			if got, ok := e.Payload.(json.RawMessage); !ok || !bytes.Equal(got, w.Payload) {
				t.Errorf("event %d: got payload %s, want %s", i, got, w.Payload)
			}
		}
	})
}
