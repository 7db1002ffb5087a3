package ofb

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/rs/zerolog"
)

var openCall = map[string]any{"role": "SERVER", "endpoint": "/bank/open-banking/channels/v2/branches", "clientOrgId": nil, "clientSSId": nil, "endpointUriPrefix": nil,
	"additionalInfo": map[string]any{"clientIp": "2001:db8::7", "dropReason": "NONE"}}

func TestEncodeOpenData(t *testing.T) {
	t.Parallel()
	const want = `{"endpoint":"/open-banking/channels/v2/branches","statusCode":200,"httpMethod":"GET","timestamp":"2026-11-20T11:59:59.123Z","processTimespan":120.5,"additionalInfo":{"clientIp":"2001:db8::7"}}`
	got, err := adapterAt(t, noon).Encode(OpenData, interaction(t, openCall))
	if err != nil || string(got) != want {
		t.Fatalf("got  %s, %v\nwant %s", got, err, want)
	}
	for name, tc := range map[string]struct {
		api    string
		now    time.Time
		change map[string]any
		code   string
	}{
		"as a private report":     {Private, noon, nil, "unlisted_endpoint"},
		"a private call":          {OpenData, noon, map[string]any{"endpoint": "/open-banking/accounts/v2/accounts"}, "unlisted_endpoint"},
		"without an address":      {OpenData, noon, map[string]any{"additionalInfo": nil}, "schema_invalid"},
		"with a zone":             {OpenData, noon, map[string]any{"additionalInfo": map[string]any{"clientIp": "fe80::1%eth0"}}, "schema_invalid"},
		"with a list":             {OpenData, noon, map[string]any{"additionalInfo": map[string]any{"clientIp": "203.0.113.7, 203.0.113.8"}}, "schema_invalid"},
		"older than seven days":   {OpenData, noon.Add(7*24*time.Hour + time.Second), nil, "expired"},
		"a clock 6 minutes ahead": {OpenData, noon.Add(-6 * time.Minute), nil, "in_the_future"},
	} {
		changed := map[string]any{}
		for _, from := range []map[string]any{openCall, tc.change} {
			for k, v := range from {
				changed[k] = v
			}
		}
		if item, err := adapterAt(t, tc.now).Encode(tc.api, interaction(t, changed)); err == nil || fault.From(err).Code != tc.code {
			t.Errorf("%s: got %s, %v, want %s", name, item, err, tc.code)
		}
	}
}

func TestWhatEachAPICanDo(t *testing.T) {
	t.Parallel()
	a := adapterAt(t, noon)
	for api, want := range map[string]struct {
		items int
		ask   bool
	}{Private: {5000, true}, OpenData: {5000, false}, CreditPortability: {0, false}, "hybrid-flow": {0, false}} {
		if items, _ := a.Limits(api); items != want.items || a.CanAsk(api) != want.ask {
			t.Errorf("%s: got %d items, can be asked: %v; want %+v", api, items, a.CanAsk(api), want)
		}
		if items, bytes := a.Limits(api); items == 0 && bytes != 0 {
			t.Errorf("%s: no items, but %d bytes", api, bytes)
		}
	}
	if o := a.Submit(t.Context(), submit.Batch{API: "hybrid-flow"}); o.Kind != submit.NeverSent || o.Code != submit.LocalFault {
		t.Errorf("an API that is not known: got %+v, want it never sent", o)
	}
}

func TestAPIsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"an API that is not reported to": {APIs: []string{Private, CreditPortability}},
		"no catalogue at the place":      {Catalogue: "/nowhere/endpoints.csv"},
	} {
		cfg.AuthURL, cfg.APIURL = "https://auth.invalid", "https://api.invalid"
		if _, err := New(cfg, nil, time.Now, zerolog.Nop()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
