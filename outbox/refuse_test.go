package outbox

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

const cpf = "529.982.247-25"

// call is a captured call, of which change makes another.
func call(change func(map[string]any)) Event {
	payload := map[string]any{"role": "SERVER", "fapiInteractionId": uuid.NewString(), "endpoint": "/open-banking/accounts/v2/accounts", "httpMethod": "GET", "statusCode": 200,
		"timestamp": time.Now().UTC().Format(time.RFC3339), "processTimespan": 1.5}
	change(payload)
	return with(func(e *Event) { e.Type, e.Payload = event.InteractionCompleted, payload })
}

func raw(payload string) Event {
	return with(func(e *Event) { e.Type, e.Payload = "consent.of-another-release", json.RawMessage(payload) })
}

// bad is an event that no consumer could take, and who says so.
type bad struct {
	event         Event
	field, reason string // of Append; no field: it is taken
	state         string // SQLSTATE of append_event; none: it is taken, and set aside by the consumer
}

// The numbers are those of the groups of bad input.
func bads() map[string]bad {
	tenant := func(s string) Event { return with(func(e *Event) { e.TenantID = s }) }
	kind := func(s string) Event { return with(func(e *Event) { e.Type = s }) }
	occurred := func(year int) Event {
		return with(func(e *Event) { e.OccurredAt = time.Date(year, 6, 15, 12, 0, 0, 0, time.UTC) })
	}
	long, large := strings.Repeat("a", 300), int64(math.MaxInt64)
	return map[string]bad{
		"1: a CPF in a label":                {with(func(e *Event) { e.CorrelationID = cpf }), "correlation_id", "personal_data", ""},
		"1: an e-mail in the source":         {with(func(e *Event) { e.Source = "maria@example.com" }), "source", "personal_data", ""},
		"1: a CPF as the idempotency key":    {with(func(e *Event) { e.IdempotencyKey = "52998224725" }), "idempotency_key", "personal_data", ""},
		"1: a CPF in a call's free text":     {call(func(p map[string]any) { p["additionalInfo"] = map[string]any{"rejectionReasonDetail": cpf} }), "payload.additionalInfo.rejectionReasonDetail", "personal_data", ""},
		"1: a CPF as a call's correlationId": {call(func(p map[string]any) { p["correlationId"] = "52998224725" }), "payload.correlationId", "personal_data", ""},
		"1: a CPF as a key":                  {call(func(p map[string]any) { p[cpf] = 1 }), "payload", "schema_invalid", ""},
		"2: CR LF in the type":               {kind("consent.x\r\nEvil: 1"), "event_type", "schema_invalid", "23514"},
		"2: CR LF in the tenant":             {tenant("acme\r\n"), "tenant_id", "schema_invalid", "23514"},
		"2: a line break behind the tenant":  {tenant("acme-bank\n"), "tenant_id", "schema_invalid", "23514"},
		"2: CR LF in a label is kept":        {with(func(e *Event) { e.Source = "a\r\n\x1b[2J" }), "", "", ""},
		"5: a tenant with a dot":             {tenant("a.b"), "tenant_id", "schema_invalid", "23514"},
		"5: a tenant with a star":            {tenant("*"), "tenant_id", "schema_invalid", "23514"},
		"5: a tenant with a >":               {tenant("a>"), "tenant_id", "schema_invalid", "23514"},
		"5: a tenant with a space":           {tenant("a b"), "tenant_id", "schema_invalid", "23514"},
		"5: a tenant of 300":                 {tenant(long), "tenant_id", "schema_invalid", "23514"},
		"5: no tenant":                       {tenant(""), "tenant_id", "schema_invalid", "23514"},
		"5: an ecosystem of nobody":          {with(func(e *Event) { e.Ecosystem = "psd2" }), "ecosystem", "schema_invalid", "23514"},
		"5: a type with a star":              {kind("consent.*"), "event_type", "schema_invalid", "23514"},
		"5: a type with a >":                 {kind("consent.>"), "event_type", "schema_invalid", "23514"},
		"5: a type with a space":             {kind("consent.a b"), "event_type", "schema_invalid", "23514"},
		"5: a type with an empty token":      {kind("consent..x"), "event_type", "schema_invalid", "23514"},
		"5: a type that ends in a dot":       {kind("consent."), "event_type", "schema_invalid", "23514"},
		"5: a type of 300":                   {kind("consent." + long), "event_type", "schema_invalid", "23514"},
		"6: a duplicate key":                 {raw(`{"a":1,"a":2}`), "byte", "unreadable", ""}, // jsonb keeps the last one
		"6: NaN":                             {raw(`{"a":NaN}`), "byte", "unreadable", "22P02"},
		"6: 1e400":                           {raw(`{"a":1e400}`), "payload", "unstorable", ""},
		"6: depth 10,000":                    {raw(strings.Repeat("[", 10000) + strings.Repeat("]", 10000)), "payload", "unreadable", ""},
		"6: depth 65":                        {raw(strings.Repeat("[", 65) + strings.Repeat("]", 65)), "payload", "unreadable", ""},
		"6: trailing data":                   {raw(`{} {}`), "byte", "unreadable", "22P02"},
		"6: bad UTF-8":                       {raw("{\"a\":\"\xff\"}"), "byte", "unreadable", "22021"},
		"6: a lone surrogate":                {raw(`{"a":"\ud800"}`), "byte", "unreadable", "22P02"},
		"6: a byte order mark":               {raw("\xef\xbb\xbf{}"), "byte", "unreadable", "22P02"},
		"6: 10 MB":                           {raw(`"` + strings.Repeat("x", 10<<20) + `"`), "payload", "too_large", "23514"},
		"6: more than 256 KiB":               {raw(`"` + strings.Repeat("x", 256<<10) + `"`), "payload", "too_large", "23514"},
		"6: more than 256 KiB with spaces":   {raw(`[` + strings.Repeat("1,", 100_000) + `1]`), "payload", "too_large", "23514"},
		"6: more than 256 KiB of zeros":      {raw(`[` + strings.Repeat("1e-300,", 1000) + `0.5]`), "payload", "too_large", "23514"},
		"6: no payload":                      {with(func(e *Event) { e.Payload = nil }), "payload", "unreadable", "23502"},
		"6: a payload that is no JSON":       {with(func(e *Event) { e.Payload = func() {} }), "payload", "unreadable", "-"},
		"6: a subject that is no JSON":       {with(func(e *Event) { e.Subject = func() {} }), "subject", "unreadable", "-"},
		"7: an integer beyond 2^53":          {raw(`{"a":9007199254740993}`), "payload", "unstorable", ""},
		"7: the same with an exponent":       {raw(`{"a":1.6e16}`), "payload", "unstorable", ""},
		"7: as a string":                     {raw(`{"a":"9007199254740993"}`), "", "", ""},
		"7: an aggregate's version":          {with(func(e *Event) { e.AggregateVersion = &large }), "aggregate_version", "unstorable", ""},
		"7: a version beyond int32":          {with(func(e *Event) { e.Version = math.MaxInt32 + 1 }), "version", "schema_invalid", "-"},
		"9: occurred in year 0":              {occurred(0), "occurred_at", "unstorable", "23514"},
		"9: occurred in year 10000":          {occurred(10000), "occurred_at", "unstorable", "23514"},
		"9: occurred in year 9999":           {occurred(9999), "", "", ""},
		"9: occurred 30 days ago":            {with(func(e *Event) { e.OccurredAt = time.Now().AddDate(0, 0, -30) }), "", "", ""},
		"9: an id of version 4":              {with(func(e *Event) { e.ID = uuid.NewString() }), "event_id", "schema_invalid", "23514"},
		"9: an id that is none":              {with(func(e *Event) { e.ID = "17" }), "event_id", "schema_invalid", "22P02"},
		"10: SQL in labels is kept":          {with(func(e *Event) { e.Source, e.AggregateID = `'); DROP TABLE event_runtime.outbox; --`, `$1 \' @x` }), "", "", ""},
		"10: NUL in a label":                 {with(func(e *Event) { e.Source = "a\x00" }), "source", "unstorable", "22021"},
		"10: NUL in the payload":             {raw(`{"a":"\u0000"}`), "payload", "unstorable", "22P05"},
		"10: bad UTF-8 in a label":           {with(func(e *Event) { e.Source = "a\xff" }), "source", "unstorable", "22021"},
		"the schema of its type says no":     {with(func(e *Event) { e.Payload = map[string]any{"state": 7} }), "payload.state", "schema_invalid", ""},
		"a type that this release lacks":     {raw(`{"a":1}`), "", "", ""},
	}
}

const sqlAppendOne = `
SELECT event_runtime.append_event($1, $2, $3, $4::text::jsonb, $5, $6, $7::text::uuid, aggregate_id => $8, aggregate_version => $9, correlation_id => $10, source => $11, idempotency_key => $12)`

// Append names the field and never says the value, before the database is asked;
// append_event, for other languages, refuses at least what could not be carried.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	taken := 0
	for name, tc := range bads() {
		t.Run(name, func(t *testing.T) {
			_, err := b.append(tc.event)
			var invalid *InvalidError
			switch {
			case tc.field == "" && err != nil:
				t.Errorf("Append: got %v, want it taken", err)
			case tc.field == "":
				taken++
			case !errors.As(err, &invalid) || !strings.HasPrefix(invalid.Field, tc.field) || invalid.Reason != tc.reason:
				t.Errorf("Append: got %v, want %s at %s", err, tc.reason, tc.field)
			default:
				if kind, found := denylist.Find(err.Error()); found || strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 200 {
					t.Errorf("Append: the error says what the value was (%s): %q", kind, err)
				}
			}
			if tc.state == "-" {
				return // no such value in SQL
			}
			err = b.appendOne(tc.event)
			var refused *pgconn.PgError
			switch {
			case tc.state == "" && err != nil:
				t.Errorf("append_event: got %v, want it taken", err)
			case tc.state == "":
				taken++
			case !errors.As(err, &refused) || refused.Code != tc.state:
				t.Errorf("append_event: got %v, want SQLSTATE %s", err, tc.state)
			}
		})
	}
	if got := b.outbox(); got != taken {
		t.Errorf("got %d events, want those %d that were taken", got, taken)
	}
}

// appendOne is what a producer in another language does.
func (b *bank) appendOne(e Event) error {
	payload, err := marshal(e.Payload)
	if err != nil {
		return err
	}
	if e.Version == 0 {
		e.Version = 1
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = time.Now()
	}
	_, err = b.producer.Exec(b.t.Context(), sqlAppendOne, e.TenantID, e.Ecosystem, e.Type, nullable(string(payload)), e.Version, e.OccurredAt, nullable(e.ID),
		nullable(e.AggregateID), e.AggregateVersion, nullable(e.CorrelationID), nullable(e.Source), nullable(e.IdempotencyKey))
	return err
}

// Both ways in make the same row.
func TestBothWaysMakeTheSameRow(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	version := int64(3)
	e := with(func(e *Event) {
		e.OccurredAt, e.AggregateID, e.AggregateVersion, e.CorrelationID, e.Source = time.Now().Truncate(time.Microsecond), "urn:bank:1", &version, "c", "s"
	})
	first, second := NewID(), NewID()
	e.ID = first
	if _, err := b.append(e); err != nil {
		t.Fatal(err)
	}
	e.ID = second
	if err := b.appendOne(e); err != nil {
		t.Fatal(err)
	}
	if one, two := b.row(first), b.row(second); one != two {
		t.Errorf("got  %s\nwant %s", two, one)
	}
}

// The guard needs the database's clock: whoever's id is out of time is told so by
// it, on both ways.
func TestAnIDOutOfTime(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	for name, tc := range map[string]struct {
		made time.Duration
		ok   bool
	}{
		"25 hours ago": {-25 * time.Hour, false}, "in ten minutes": {10 * time.Minute, false}, "a minute ago": {-time.Minute, true}, "in two minutes": {2 * time.Minute, true},
	} {
		for way, put := range map[string]func(Event) error{
			"Append": func(e Event) error { _, err := b.append(e); return err }, "append_event": b.appendOne,
		} {
			e := with(func(e *Event) { e.ID = event.NewID(time.Now().Add(tc.made)).String() })
			err := put(e)
			var refused *pgconn.PgError
			if tc.ok != (err == nil) || !tc.ok && (!errors.As(err, &refused) || refused.ConstraintName != "append_clock_guard") {
				t.Errorf("%s, %s: got %v, want it taken: %v", name, way, err, tc.ok)
			}
		}
	}
}

// A trace that is no trace must not cost the event.
func TestABrokenTraceIsDropped(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	const whole = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tc := range map[string]struct{ given, want string }{
		"8: whole": {whole, whole}, "8: malformed": {"00-zz", ""}, "8: with CR LF": {whole + "\r\nEvil: 1", ""}, "8: 64 KB": {strings.Repeat("0", 64<<10), ""},
		"8: in capitals": {strings.ToUpper(whole), ""}, "8: with more behind it": {whole + "-more", ""},
	} {
		id, err := b.append(with(func(e *Event) { e.Traceparent = tc.given }))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := b.count(`SELECT count(*) FROM event_runtime.outbox WHERE event_id = $1 AND traceparent IS NOT DISTINCT FROM nullif($2, '')`, id, tc.want); got != 1 {
			t.Errorf("%s: got another trace, want %q", name, tc.want)
		}
	}
}

// Append's limit is the database's, to the byte.
func TestTheLimitIsTheDatabases(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	value := rapid.OneOf(rapid.SampledFrom([]string{`"é\n\u001f\\\""`, "[]", "{}", "true", "false", "null", "-0.5", "9007199254740992", "-2.5e-7", "1E-7", "2.2250738585072014e-308", "5e-324"}), rapid.Custom(func(t *rapid.T) string {
		s, _ := json.Marshal(rapid.Float64Range(-1<<53, 1<<53).Draw(t, "number"))
		return string(s)
	}))
	for seed := range 8 {
		values := strings.Join(rapid.SliceOfN(value, 1, 400).Example(seed), ",")
		padded := func(n int) string {
			return `{"pad":"` + strings.Repeat("x", n) + `","v":[` + values + `],"w":{"a":1,"b":2}}`
		}
		room := 256<<10 - b.count(`SELECT octet_length($1::text::jsonb::text)`, padded(0))
		if _, invalid := envelope(raw(padded(room)), time.Now()); invalid != nil {
			t.Errorf("got %v of what the database takes, with %s", invalid, values)
		}
		if _, invalid := envelope(raw(padded(room+1)), time.Now()); invalid == nil || invalid.Reason != "too_large" {
			t.Errorf("got %v of what the database refuses, want too_large, with %s", invalid, values)
		}
	}
}
