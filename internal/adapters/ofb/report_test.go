package ofb

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/fault"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func adapterAt(t *testing.T, now time.Time) *Adapter {
	t.Helper()
	catalogue, err := DefaultCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return &Adapter{catalogue: catalogue, now: func() time.Time { return now }}
}

func interaction(t *testing.T, change map[string]any) *event.Envelope {
	t.Helper()
	payload := map[string]any{"role": "CLIENT", "fapiInteractionId": "d78fc4e5-37ca-4da3-adf2-9b082bf92280", "endpoint": "/open-banking/accounts/v2/accounts/{id}/balances",
		"httpMethod": "GET", "statusCode": 200, "timestamp": "2026-11-20T08:59:59.1239-03:00", "processTimespan": 120.5,
		"clientOrgId": "082ff90b-9d65-46bb-b123-b88eb47fd61c", "serverOrgId": "b8e34d5a-2ed5-451e-8ddb-45a1edc76243",
		"clientSSId": "f0b5419b-2b5f-4f59-9862-6d2a8e23be26", "endpointUriPrefix": "https://ofin.bank.com",
		"additionalInfo": map[string]any{"personType": "PF", "dropReason": "NONE", "clientIp": "203.0.113.7"}}
	for name, value := range change {
		payload[name] = value
		if value == nil {
			delete(payload, name)
		}
	}
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return &event.Envelope{TenantID: "acme-bank", EventID: event.NewID(noon), RecordedOn: noon.Truncate(24 * time.Hour), Ecosystem: event.OFB, Type: event.InteractionCompleted,
		Version: 1, OccurredAt: noon, Payload: body}
}

func TestEncodeFollowsTheRole(t *testing.T) {
	t.Parallel()
	a := adapterAt(t, noon)
	e := interaction(t, nil)
	for name, tc := range map[string]struct {
		change map[string]any
		want   string
	}{
		"a client": {nil, `{"fapiInteractionId":"d78fc4e5-37ca-4da3-adf2-9b082bf92280","endpoint":"/open-banking/accounts/v2/accounts/{accountId}/balances","statusCode":200,` +
			`"httpMethod":"GET","correlationId":"` + e.EventID.String() + `","additionalInfo":{"personType":"PF"},"timestamp":"2026-11-20T11:59:59.123Z","processTimespan":120.5,` +
			`"clientOrgId":"082ff90b-9d65-46bb-b123-b88eb47fd61c","clientSSId":"f0b5419b-2b5f-4f59-9862-6d2a8e23be26","serverOrgId":"b8e34d5a-2ed5-451e-8ddb-45a1edc76243",` +
			`"endpointUriPrefix":"https://ofin.bank.com","role":"CLIENT"}`},
		"a server": {map[string]any{"role": "SERVER"}, `{"fapiInteractionId":"d78fc4e5-37ca-4da3-adf2-9b082bf92280","endpoint":"/open-banking/accounts/v2/accounts/{accountId}/balances",` +
			`"statusCode":200,"httpMethod":"GET","additionalInfo":{"dropReason":"NONE"},"timestamp":"2026-11-20T11:59:59.123Z","processTimespan":120.5,` +
			`"clientOrgId":"082ff90b-9d65-46bb-b123-b88eb47fd61c","serverOrgId":"b8e34d5a-2ed5-451e-8ddb-45a1edc76243","role":"SERVER"}`},
		"a client without information": {map[string]any{"additionalInfo": nil, "correlationId": "mine", "processTimespan": 60000}, `{"fapiInteractionId":"d78fc4e5-37ca-4da3-adf2-9b082bf92280",` +
			`"endpoint":"/open-banking/accounts/v2/accounts/{accountId}/balances","statusCode":200,"httpMethod":"GET","correlationId":"mine","additionalInfo":{},` +
			`"timestamp":"2026-11-20T11:59:59.123Z","processTimespan":60000,"clientOrgId":"082ff90b-9d65-46bb-b123-b88eb47fd61c","clientSSId":"f0b5419b-2b5f-4f59-9862-6d2a8e23be26",` +
			`"serverOrgId":"b8e34d5a-2ed5-451e-8ddb-45a1edc76243","endpointUriPrefix":"https://ofin.bank.com","role":"CLIENT"}`},
		"a server without information": {map[string]any{"role": "SERVER", "additionalInfo": nil}, `{"fapiInteractionId":"d78fc4e5-37ca-4da3-adf2-9b082bf92280",` +
			`"endpoint":"/open-banking/accounts/v2/accounts/{accountId}/balances","statusCode":200,"httpMethod":"GET","timestamp":"2026-11-20T11:59:59.123Z","processTimespan":120.5,` +
			`"clientOrgId":"082ff90b-9d65-46bb-b123-b88eb47fd61c","serverOrgId":"b8e34d5a-2ed5-451e-8ddb-45a1edc76243","role":"SERVER"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := interaction(t, tc.change)
			changed.EventID = e.EventID
			got, err := a.Encode(Private, changed)
			if err != nil || string(got) != tc.want {
				t.Fatalf("got  %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func TestEncodeRefusesWhatWouldBeDiscarded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now    time.Time
		change map[string]any
		code   string
	}{
		"seven days old":          {noon.Add(7*24*time.Hour - time.Second), nil, ""},
		"older than seven days":   {noon.Add(7*24*time.Hour + time.Second), nil, "expired"},
		"a clock 4 minutes ahead": {noon.Add(-4 * time.Minute), nil, ""},
		"a clock 6 minutes ahead": {noon.Add(-6 * time.Minute), nil, "in_the_future"},
		"removed meanwhile":       {noon, map[string]any{"endpoint": "/open-banking/payments/v4/consents"}, "unlisted_endpoint"},
	} {
		_, err := adapterAt(t, tc.now).Encode(Private, interaction(t, tc.change))
		got := ""
		if err != nil {
			got = fault.From(err).Code
		}
		if got != tc.code {
			t.Errorf("%s: got %q, want %q", name, got, tc.code)
		}
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	c, err := DefaultCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	if c.Len() != 137 {
		t.Errorf("got %d templates in force, want 137", c.Len())
	}
	for name, tc := range map[string]struct {
		template string
		at       time.Time
		want     string
	}{
		"as listed":                     {"/open-banking/accounts/v2/accounts/{accountId}/balances", noon, "/open-banking/accounts/v2/accounts/{accountId}/balances"},
		"with a bank's own placeholder": {"/open-banking/accounts/v2/accounts/{id}/balances", noon, "/open-banking/accounts/v2/accounts/{accountId}/balances"},
		"below the bank's own prefix":   {"/v1/api/open-banking/consents/v3/consents", noon, "/open-banking/consents/v3/consents"},
		"a security endpoint":           {"/token", noon, "/token"},
		"a concrete path":               {"/open-banking/accounts/v2/accounts/123/balances", noon, ""},
		"not listed":                    {"/open-banking/nothing/v1", noon, ""},
		"removed":                       {"/open-banking/payments/v4/consents", noon, ""},
		"before it was removed":         {"/open-banking/payments/v4/consents", time.Date(2026, 8, 25, 23, 0, 0, 0, time.UTC), "/open-banking/payments/v4/consents"},
	} {
		if got, _ := c.Find(tc.template, tc.at); got.Template != tc.want {
			t.Errorf("%s: got %q, want %q", name, got.Template, tc.want)
		}
	}
	for name, file := range map[string]string{
		"empty":            "",
		"only a header":    "pcm_api,method,template,reporting_roles,list_state,listed_since\n",
		"a column missing": "pcm_api,template\nprivate,/a\n",
		"an unknown API":   "pcm_api,method,template,reporting_roles,list_state,listed_since\nsecret,GET,/a,CLIENT,current,v1 2026-01-01\n",
		"an unknown state": "pcm_api,method,template,reporting_roles,list_state,listed_since\nprivate,GET,/a,CLIENT,retired,v1 2026-01-01\n",
		"no date":          "pcm_api,method,template,reporting_roles,list_state,listed_since\nprivate,GET,/a,CLIENT,current,v1\n",
		"an unknown role":  "pcm_api,method,template,reporting_roles,list_state,listed_since\nprivate,GET,/a,BROKER,current,v1 2026-01-01\n",
	} {
		if _, err := ParseCatalogue([]byte(file)); err == nil {
			t.Errorf("%s: got no error", name)
		} else if !strings.Contains(err.Error(), "endpoint catalogue") {
			t.Errorf("%s: got %v, want it to name the catalogue", name, err)
		}
	}
}

func TestPackAndSplitAreInverse(t *testing.T) {
	t.Parallel()
	a := adapterAt(t, noon)
	items := [][]byte{[]byte(`{"a":[1,{"b":"],["}]}`), []byte(`{}`), []byte(`{"c":"é\""}`)}
	body := a.Pack(Private, items)
	back, err := a.Split(Private, body)
	if err != nil || len(back) != len(items) {
		t.Fatalf("got %d items, %v", len(back), err)
	}
	for i := range items {
		if string(back[i]) != string(items[i]) {
			t.Errorf("got %s, want %s", back[i], items[i])
		}
	}
	if _, err := a.Split(Private, body[:len(body)-1]); err == nil {
		t.Error("half a body splits")
	}
}

func TestDeadlineIsTheEarlierReading(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"2026-11-20T00:00:00Z":      "2026-11-21T08:00:00Z",
		"2026-11-20T23:59:59.999Z":  "2026-11-21T08:00:00Z",
		"2026-11-20T22:00:00-03:00": "2026-11-22T08:00:00Z",
		"2026-12-31T12:00:00Z":      "2027-01-01T08:00:00Z",
	} {
		call, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := Deadline(call).Format(time.RFC3339); got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
}

func TestEncodeFailuresAreFinal(t *testing.T) {
	t.Parallel()
	var f *fault.Error
	if _, err := adapterAt(t, noon.AddDate(0, 1, 0)).Encode(Private, interaction(t, nil)); !errors.As(err, &f) || f.Class != fault.Permanent {
		t.Fatalf("got %v, want a permanent fault", err)
	}
}
