package event

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
)

const plainPayload = `{"role":"CLIENT","fapiInteractionId":"d78fc4e5-37ca-4da3-adf2-9b082bf92280","endpoint":"/open-banking/accounts/v2/accounts",` +
	`"httpMethod":"GET","statusCode":200,"timestamp":"2026-11-20T11:59:59.500Z","processTimespan":120.5,` +
	`"clientOrgId":"082ff90b-9d65-46bb-b123-b88eb47fd61c","serverOrgId":"b8e34d5a-2ed5-451e-8ddb-45a1edc76243","additionalInfo":{"personType":"PF"}}`

const plainRecord = `"tenant_id":"acme-bank","recorded_on":"2026-11-20","event_id":"01a1f8d3-ea00-7000-8000-000000000001","ecosystem":"ofb",` +
	`"event_type":"interaction.completed","version":1,"occurred_at":"2026-11-20T11:59:59.500000Z","recorded_at":"2026-11-20T12:00:00.123456Z",` +
	`"aggregate_type":null,"aggregate_id":null,"aggregate_version":null,"idempotency_key":null,"correlation_id":null,"traceparent":null,` +
	`"source":"consent-api","subject":null`

func message(record, payload string) []byte {
	return []byte(`{"record":{` + record + `,"payload":` + payload + `},"action":"insert","changes":null,"metadata":{"commit_lsn":9223372036854775807}}`)
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	with := func(old, instead string) []byte {
		r := strings.Replace(plainRecord, old, instead, 1)
		if r == plainRecord {
			panic("nothing replaced: " + old)
		}
		return message(r, plainPayload)
	}
	for name, tc := range map[string]struct {
		body   []byte
		reason Reason
		where  string
	}{
		"a plain row": {message(plainRecord, plainPayload), "", ""},
		"an unknown column is the next release's": {message(plainRecord+`,"new_column":1`, plainPayload), "", ""},
		"not JSON":                       {[]byte(`hello`), Unreadable, "byte 0"},
		"empty":                          {nil, Unreadable, "byte 0"},
		"a byte order mark":              {append([]byte("\xef\xbb\xbf"), message(plainRecord, plainPayload)...), Unreadable, "byte 0"},
		"bytes behind the object":        {append(message(plainRecord, plainPayload), "{}"...), Unreadable, ""},
		"an array":                       {[]byte(`[]`), Unreadable, "message"},
		"bad UTF-8":                      {message(plainRecord, `{"a":"`+"\xff"+`"}`), Unreadable, ""},
		"a lone surrogate":               {message(plainRecord, `{"a":"\ud800"}`), Unreadable, ""},
		"a duplicate key":                {message(plainRecord, `{"a":1,"a":2}`), Unreadable, ""},
		"a duplicate column":             {message(plainRecord+`,"version":1`, plainPayload), Unreadable, ""},
		"NaN":                            {message(plainRecord, `{"a":NaN}`), Unreadable, ""},
		"depth 64 is allowed":            {message(plainRecord, strings.Repeat("[", 62)+strings.Repeat("]", 62)), "", ""},
		"depth 65":                       {message(plainRecord, strings.Repeat("[", 63)+strings.Repeat("]", 63)), Unreadable, "depth"},
		"depth 10,000":                   {message(plainRecord, strings.Repeat("[", 10000)+strings.Repeat("]", 10000)), Unreadable, "depth"},
		"a number beyond float64":        {message(plainRecord, `{"a":1e400}`), Unstorable, ""},
		"10 MB":                          {message(plainRecord, `"`+strings.Repeat("x", 10<<20)+`"`), TooLarge, "message"},
		"a payload beyond 256 KiB":       {message(plainRecord, `"`+strings.Repeat("x", 257<<10)+`"`), TooLarge, "record.payload"},
		"a NUL character":                {message(plainRecord, `{"a":"x\u0000"}`), Unstorable, ""},
		"an escaped backslash is no NUL": {message(plainRecord, `{"a":"x\\u0000"}`), "", ""},
		"an integer of 2^53":             {message(plainRecord, `{"a":9007199254740992}`), "", ""},
		"an integer beyond 2^53":         {message(plainRecord, `{"a":9007199254740993}`), Unstorable, ""},
		"an integer below -2^53":         {message(plainRecord, `{"a":-9007199254740993}`), Unstorable, ""},
		"a large integer in a string":    {message(plainRecord, `{"a":"9007199254740993"}`), "", ""},
		"an integer beyond 2^53 with an exponent": {message(plainRecord, `{"a":1.6e16}`), Unstorable, ""},
		"and one with a point":                    {message(plainRecord, `{"a":-16000000000000000.0}`), Unstorable, ""},
		"a large fraction is float64":             {message(plainRecord, `{"a":9.007199254740992e15}`), "", ""},
		"no record":                               {[]byte(`{"action":"insert"}`), SchemaInvalid, "record"},
		"a record that is a list":                 {[]byte(`{"record":[]}`), SchemaInvalid, "record"},
		"tenant in capitals":                      {with(`acme-bank`, `Acme`), SchemaInvalid, "record.tenant_id"},
		"tenant with a wildcard":                  {with(`acme-bank`, `a>b`), SchemaInvalid, "record.tenant_id"},
		"tenant is a number":                      {with(`"acme-bank"`, `7`), SchemaInvalid, "record.tenant_id"},
		"tenant is missing":                       {with(`"tenant_id":"acme-bank",`, ``), SchemaInvalid, "record.tenant_id"},
		"unknown ecosystem":                       {with(`"ofb"`, `"psd2"`), SchemaInvalid, "record.ecosystem"},
		"type with an empty token":                {with(`interaction.completed`, `interaction..completed`), SchemaInvalid, "record.event_type"},
		"type of 300 characters":                  {with(`interaction.completed`, strings.Repeat("a", 300)), SchemaInvalid, "record.event_type"},
		"event_id is not a UUID":                  {with(`01a1f8d3-ea00-7000-8000-000000000001`, `17`), SchemaInvalid, "record.event_id"},
		"event_id is not version 7":               {with(`01a1f8d3-ea00-7000`, `01a1f8d3-ea00-4000`), SchemaInvalid, "record.event_id"},
		"the day is not the id's":                 {with(`"recorded_on":"2026-11-20"`, `"recorded_on":"2026-11-21"`), SchemaInvalid, "record.recorded_on"},
		"occurred_at without a zone":              {with(`11:59:59.500000Z`, `11:59:59.500000`), SchemaInvalid, "record.occurred_at"},
		"occurred_at in year 10000":               {with(`2026-11-20T11:59:59`, `10000-11-20T11:59:59`), Unstorable, "record.occurred_at"},
		"occurred_at in year 0":                   {with(`2026-11-20T11:59:59`, `0000-11-20T11:59:59`), Unstorable, "record.occurred_at"},
		"occurred_at in year 10000 of UTC":        {with(`2026-11-20T11:59:59.500000Z`, `9999-12-31T23:59:59-03:00`), Unstorable, "record.occurred_at"},
		"occurred_at with a signed year":          {with(`2026-11-20T11:59:59`, `+12026-11-20T11:59:59`), Unstorable, "record.occurred_at"},
		"occurred_at in a leap second":            {with(`2026-11-20T11:59:59`, `2026-06-30T23:59:60`), SchemaInvalid, "record.occurred_at"},
		"occurred_at with an offset":              {with(`11:59:59.500000Z`, `08:59:59.500000-03:00`), "", ""},
		"version is a fraction":                   {with(`"version":1`, `"version":1.5`), SchemaInvalid, "record.version"},
		"version is too large":                    {with(`"version":1`, `"version":99999999999999999999`), Unstorable, ""},
		"a broken traceparent is no defect":       {with(`"traceparent":null`, `"traceparent":"00-x\r\nEvil: 1"`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Decode(tc.body)
			if tc.reason == "" {
				if err != nil || e == nil {
					t.Fatalf("got %v, want an envelope", err)
				}
				return
			}
			var d *Defect
			if !errors.As(err, &d) || d.Reason != tc.reason || tc.where != "" && d.Where != tc.where {
				t.Fatalf("got %v, want %s at %s", err, tc.reason, tc.where)
			}
		})
	}
}

func TestHashIsTheSameWhicheverRelayCarriedTheRow(t *testing.T) {
	t.Parallel()
	base := mustDecode(t, message(plainRecord, `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`)).Hash()
	for name, body := range map[string][]byte{
		"keys in another order":        message(plainRecord, `{"z":{"k":[1,2]},"e":1e-7,"a":1000,"d":199.99}`),
		"Postgres's text":              message(plainRecord, `{"a": 1000, "d": 199.990, "e": 0.0000001, "z": {"k": [1, 2]}}`),
		"Sequin's floats":              message(plainRecord, `{"a":1000,"d":199.99,"e":1.0e-7,"z":{"k":[1,2]}}`),
		"recorded later":               message(strings.Replace(plainRecord, "12:00:00.123456Z", "12:00:09.000000Z", 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"within another trace":         message(strings.Replace(plainRecord, `"traceparent":null`, `"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`, 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"occurred_at in another zone":  message(strings.Replace(plainRecord, "11:59:59.500000Z", "08:59:59.5-03:00", 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"an event_id in upper case":    message(strings.Replace(plainRecord, "01a1f8d3-ea00", "01A1F8D3-EA00", 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"a column of the next release": message(plainRecord+`,"x":1`, `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
	} {
		if got := mustDecode(t, body).Hash(); got != base {
			t.Errorf("%s: got another hash", name)
		}
	}
	for name, body := range map[string][]byte{
		"another payload": message(plainRecord, `{"a":1001,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"another source":  message(strings.Replace(plainRecord, "consent-api", "other-api", 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
		"another version": message(strings.Replace(plainRecord, `"version":1`, `"version":2`, 1), `{"a":1000,"d":199.99,"e":1e-7,"z":{"k":[1,2]}}`),
	} {
		if got := mustDecode(t, body).Hash(); got == base {
			t.Errorf("%s: got the same hash", name)
		}
	}
}

// The hash input must be exactly the RFC 8785 form of the columns, as an
// independent implementation makes it.
func TestHashInputIsCanonical(t *testing.T) {
	t.Parallel()
	version := int64(42)
	e := mustDecode(t, message(strings.Replace(plainRecord, `"subject":null`, `"subject":{"profile_id":"p-1","external_id":"é\u2028<&>"}`, 1), `{"b":[1.50,true,null],"a":"\u0001\n"}`))
	e.AggregateVersion, e.AggregateID = &version, `urn:"x"\`
	columns, err := stdjson.Marshal(map[string]any{
		"aggregate_id": e.AggregateID, "aggregate_type": nil, "aggregate_version": 42, "correlation_id": nil, "ecosystem": e.Ecosystem,
		"event_id": e.EventID.String(), "event_type": e.Type, "idempotency_key": nil, "occurred_at": "2026-11-20T11:59:59.500000Z",
		"payload": stdjson.RawMessage(e.Payload), "recorded_on": "2026-11-20", "source": "consent-api", "subject": stdjson.RawMessage(e.Subject),
		"tenant_id": "acme-bank", "version": 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := jcs.Transform(columns)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(e.canonical()); got != string(want) {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestIDKnowsItsDay(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"2026-11-20T23:59:59.999Z", "2026-11-21T00:00:00.000Z", "1970-01-01T00:00:00.000Z", "2199-12-31T12:00:00.001Z"} {
		now, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		id := NewID(now)
		if !id.IsV7() || !id.Time().Equal(now) || id.Day().Format(time.DateOnly) != at[:10] {
			t.Errorf("got %v of day %v, want %s", id.Time(), id.Day(), at)
		}
		if back, err := ParseID(strings.ToUpper(id.String())); err != nil || back != id {
			t.Errorf("got %v, %v, want %v", back, err, id)
		}
	}
	for _, bad := range []string{"", "01a1f8d3ea0070008000000000000001", "urn:uuid:01a1f8d3-ea00-7000-8000-000000000001", "{01a1f8d3-ea00-7000-8000-000000000001}", "01a1f8d3-ea00-7000-8000-00000000000g"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q): got no error", bad)
		}
	}
}

func mustDecode(t *testing.T, body []byte) *Envelope {
	t.Helper()
	e, err := Decode(body)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return e
}

func BenchmarkDecodeCheckHash(b *testing.B) {
	catalog, err := NewCatalog()
	if err != nil {
		b.Fatal(err)
	}
	body := message(plainRecord, plainPayload)
	b.ReportAllocs()
	for b.Loop() {
		e, err := Decode(body)
		if err != nil {
			b.Fatal(err)
		}
		if err := catalog.Check(e); err != nil {
			b.Fatal(err)
		}
		_ = e.Hash()
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(message(plainRecord, plainPayload))
	f.Add([]byte(`{"record":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		var d *Defect
		if err != nil && !errors.As(err, &d) {
			t.Fatalf("got %T, want a *Defect", err)
		}
		if err != nil {
			return
		}
		// What was accepted says the same after another trip.
		again, err := Decode(message(fmt.Sprintf(`"tenant_id":%q,"recorded_on":%q,"event_id":%q,"ecosystem":%q,"event_type":%q,"version":%d,"occurred_at":%q`,
			e.TenantID, e.RecordedOn.Format(time.DateOnly), e.EventID, e.Ecosystem, e.Type, e.Version, e.OccurredAt.Format(time.RFC3339Nano)), string(e.Payload)))
		if err != nil {
			t.Fatalf("second trip: %v", err)
		}
		if string(again.Payload) != string(e.Payload) {
			t.Fatalf("got payload %s, want %s", again.Payload, e.Payload)
		}
	})
}
