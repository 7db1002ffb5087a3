package event

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

func TestCheckNamesTheField(t *testing.T) {
	t.Parallel()
	catalog := mustCatalog(t)
	with := func(old, instead string) string {
		p := strings.Replace(plainPayload, old, instead, 1)
		if p == plainPayload {
			panic("nothing replaced: " + old)
		}
		return p
	}
	for name, tc := range map[string]struct {
		payload string
		reason  Reason
		where   string
	}{
		"a plain call":                  {plainPayload, "", ""},
		"a server without client parts": {with(`"CLIENT"`, `"SERVER"`), "", ""},
		"an unknown field":              {with(`"role"`, `"customerName":"x","role"`), SchemaInvalid, "payload"},
		"an unknown additional field":   {with(`"personType"`, `"nickname"`), SchemaInvalid, "payload.additionalInfo"},
		"a list of error codes":         {with(`"personType":"PF"`, `"errorCodes":["A"]`), "", ""},
		"error codes as a string":       {with(`"personType":"PF"`, `"errorCodes":"A"`), SchemaInvalid, "payload.additionalInfo"},
		"a nested summary":              {with(`"personType":"PF"`, `"statusSummary":{"available":"1"}`), "", ""},
		"role BROKER":                   {with(`"CLIENT"`, `"BROKER"`), SchemaInvalid, "payload.role"},
		"status as a string":            {with(`200`, `"200"`), SchemaInvalid, "payload.statusCode"},
		"status 99":                     {with(`200`, `99`), SchemaInvalid, "payload.statusCode"},
		"status 200.0 is 200":           {with(`200`, `200.0`), "", ""},
		"status 200.5":                  {with(`200`, `200.5`), SchemaInvalid, "payload.statusCode"},
		"timespan 0":                    {with(`120.5`, `0`), SchemaInvalid, "payload.processTimespan"},
		"an all-zero interaction id":    {with(`d78fc4e5-37ca-4da3-adf2-9b082bf92280`, `00000000-0000-0000-0000-000000000000`), SchemaInvalid, "payload.fapiInteractionId"},
		"an interaction id of 3":        {with(`d78fc4e5-37ca-4da3-adf2-9b082bf92280`, `123`), SchemaInvalid, "payload.fapiInteractionId"},
		"null for an optional field":    {with(`"082ff90b-9d65-46bb-b123-b88eb47fd61c"`, `null`), SchemaInvalid, "payload.clientOrgId"},
		"empty for an optional field":   {with(`"082ff90b-9d65-46bb-b123-b88eb47fd61c"`, `""`), SchemaInvalid, "payload.clientOrgId"},
		"an endpoint with a query":      {with(`/v2/accounts"`, `/v2/accounts?cpf=1"`), SchemaInvalid, "payload.endpoint"},
		"a timestamp with an offset":    {with(`11:59:59.500Z`, `08:59:59-03:00`), "", ""},
		"a timestamp in year 0":         {with(`2026-11-20T11`, `0000-11-20T11`), SchemaInvalid, "payload.timestamp"},
		"a leap second":                 {with(`11:59:59.500Z`, `23:59:60Z`), SchemaInvalid, "payload.timestamp"},
		"the 30th of February":          {with(`2026-11-20T`, `2026-02-30T`), SchemaInvalid, "payload.timestamp"},
		"a list":                        {`[]`, SchemaInvalid, "payload"},
		"empty":                         {`{}`, SchemaInvalid, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := catalog.Check(mustDecode(t, message(plainRecord, tc.payload)))
			if tc.reason == "" {
				if err != nil {
					t.Fatalf("got %v, want no defect", err)
				}
				return
			}
			var d *Defect
			if !errors.As(err, &d) || d.Reason != tc.reason || d.Where != tc.where {
				t.Fatalf("got %v, want %s at %s", err, tc.reason, tc.where)
			}
		})
	}
	for _, change := range [][2]string{{`interaction.completed`, `interaction.unheard`}, {`"version":1`, `"version":2`}} {
		var d *Defect
		if err := catalog.Check(mustDecode(t, message(strings.Replace(plainRecord, change[0], change[1], 1), plainPayload))); !errors.As(err, &d) || d.Reason != SchemaUnknown {
			t.Errorf("%s: got %v, want %s", change[1], err, SchemaUnknown)
		}
	}
}

// The quick check may send a valid payload to the validator, but must never
// accept what the schema refuses.
func TestQuickCheckIsNeverMoreLenientThanTheSchema(t *testing.T) {
	t.Parallel()
	schema := mustCatalog(t).types[InteractionCompleted][1]
	value := rapid.SampledFrom([]string{`"CLIENT"`, `"SERVER"`, `"x"`, `""`, `null`, `0`, `1`, `200`, `599`, `600`, `-1`, `1.5`, `true`, `[]`, `{}`, `["a"]`, `{"a":"b"}`,
		`"d78fc4e5-37ca-4da3-adf2-9b082bf92280"`, `"00000000-0000-0000-0000-000000000000"`, `"GET"`, `"get"`, `"/a/{b}"`, `"a"`, `"2026-11-20T11:59:59.5Z"`,
		`"2026-11-20T11:59:59,5Z"`, `"2026-11-20T11:59:60Z"`, `"2026-11-20T24:00:00Z"`, `"2026-11-20T1:00:00Z"`, `"2026-11-20T11:59:59-25:00"`, `"0001-01-01T00:00:00+23:00"`, `"https://a.b/c"`, `"é"`, `{"personType":"PF"}`, `{"x":"y"}`,
		`{"personType":7}`, `{"personType":""}`, `{"errorCodes":[]}`, `{"personType":"` + strings.Repeat("é", 500) + `"}`, `{"personType":"` + strings.Repeat("é", 501) + `"}`})
	names := append(slices.Sorted(maps.Keys(schema.Properties)), "unknown")
	rapid.Check(t, func(t *rapid.T) {
		var doc map[string]stdjson.RawMessage
		if err := stdjson.Unmarshal([]byte(plainPayload), &doc); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			if rapid.Bool().Draw(t, "remove") {
				delete(doc, name)
				continue
			}
			doc[name] = stdjson.RawMessage(value.Draw(t, "value"))
		}
		payload, err := stdjson.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Decode(message(plainRecord, string(payload)))
		if err != nil {
			t.Skip(err)
		}
		if !plainInteraction(e.Payload) {
			return
		}
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Payload))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(parsed); err != nil {
			t.Fatalf("the quick check accepts %s, the schema: %v", e.Payload, err)
		}
	})
}

func TestStringNamesAreTheSchemas(t *testing.T) {
	t.Parallel()
	info := mustCatalog(t).types[InteractionCompleted][1].Properties["additionalInfo"]
	want := map[string]bool{}
	for name, property := range info.Properties {
		if property.Ref != nil && strings.HasSuffix(property.Ref.Location, "/value") {
			want[name] = true
		}
	}
	if !maps.Equal(additionalStrings, want) {
		t.Fatalf("got %v, want %v", slices.Sorted(maps.Keys(additionalStrings)), slices.Sorted(maps.Keys(want)))
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]Address{
		"interactions.acme-bank.ofb":                   {"acme-bank", "ofb", ""},
		"events.acme-bank.ofb.consent.advanced":        {"acme-bank", "ofb", "consent.advanced"},
		"p.31.events.zeta.opin.quote.created":          {"zeta", "opin", "quote.created"},
		"p.0.events.platform.platform.interaction-x.y": {"platform", "platform", "interaction-x.y"},
	} {
		if got, ok := ParseSubject(subject); !ok || got != want {
			t.Errorf("%s: got %v, %v, want %v", subject, got, ok, want)
		}
	}
	for _, bad := range []string{"", "interactions", "interactions.acme", "interactions.acme.ofb.more", "interactions.Acme.ofb", "interactions.*.ofb", "interactions.acme.>",
		"events.acme.ofb", "events.acme.ofb.", "events.acme.ofb.a..b", "events.acme.psd2.a.b", "p.x.events.acme.ofb.a", "p.1.interactions.acme.ofb", "p.1", "p..events.a.ofb.b", "dlq.acme.ofb",
		"interactions." + strings.Repeat("a", 300) + ".ofb", "interactions.a b.ofb", "events.acme.ofb." + strings.Repeat("a", 101)} {
		if got, ok := ParseSubject(bad); ok {
			t.Errorf("%q: got %v, want a refusal", bad, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		tenant := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,39}`).Draw(t, "tenant")
		ecosystem := rapid.SampledFrom([]string{OFB, OPIN, Platform}).Draw(t, "ecosystem")
		eventType := rapid.StringMatching(`[a-z0-9_-]{1,20}([.][a-z0-9_-]{1,20}){0,3}`).Draw(t, "type")
		subject := Subject(tenant, ecosystem, eventType)
		if strings.HasPrefix(subject, "events.") && rapid.Bool().Draw(t, "partitioned") {
			subject = "p.7." + subject
		}
		got, ok := ParseSubject(subject)
		want := Address{tenant, ecosystem, eventType}
		if Family(eventType) == InteractionFamily {
			want.Type = ""
		}
		if !ok || got != want {
			t.Fatalf("%s: got %v, %v, want %v", subject, got, ok, want)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add("p.1.events.acme.ofb.consent.advanced")
	f.Add("interactions.acme.ofb")
	f.Fuzz(func(t *testing.T, subject string) {
		if a, ok := ParseSubject(subject); ok && a.Type != "" && !strings.HasSuffix(subject, Subject(a.Tenant, a.Ecosystem, a.Type)) && Family(a.Type) != InteractionFamily {
			t.Fatalf("%q reads as %v, which is published as %q", subject, a, Subject(a.Tenant, a.Ecosystem, a.Type))
		}
	})
}

func mustCatalog(t *testing.T) *Catalog {
	t.Helper()
	c, err := NewCatalog()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
