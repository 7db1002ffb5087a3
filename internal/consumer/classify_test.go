package consumer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/google/uuid"
)

// ruling is what a message comes to.
type ruling struct {
	reason Reason
	why    string
	where  string
	answer Answer
}

// rulings are the rows of the classification, each as a message that has it.
func rulings() map[string]struct {
	message *draft
	want    ruling
} {
	type row = struct {
		message *draft
		want    ruling
	}
	deep := `{"record":{"payload":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`
	record := func(change func(map[string]any)) string {
		d := newDraft()
		r := map[string]any{}
		if err := json.Unmarshal(d.bytes(), &r); err != nil {
			panic(err)
		}
		change(r["record"].(map[string]any))
		body, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		return string(body)
	}
	v4 := uuid.NewString()
	return map[string]row{
		"unreadable: not JSON":             {newDraft(bytesOf("hello")), ruling{"unreadable", "", "byte 0", Term}},
		"unreadable: empty":                {newDraft(bytesOf("")), ruling{"unreadable", "", "byte 0", Term}},
		"unreadable: an array":             {newDraft(bytesOf("[]")), ruling{"unreadable", "", "message", Term}},
		"unreadable: not UTF-8":            {newDraft(bytesOf("{\"record\":{\"a\":\"\xff\"}}")), ruling{"unreadable", "", "", Term}},
		"unreadable: a duplicate key":      {newDraft(bytesOf(`{"record":{"payload":{"a":1,"a":2}}}`)), ruling{"unreadable", "", "", Term}},
		"unreadable: too deep":             {newDraft(bytesOf(deep)), ruling{"unreadable", "", "depth", Term}},
		"unreadable: trailing bytes":       {newDraft(bytesOf(`{"record":{}}{}`)), ruling{"unreadable", "", "", Term}},
		"unreadable: a byte order mark":    {newDraft(bytesOf("\xef\xbb\xbf{}")), ruling{"unreadable", "", "byte 0", Term}},
		"too_large: the payload":           {newDraft(field("correlationId", strings.Repeat("x", 300<<10))), ruling{"too_large", "", "record.payload", Term}},
		"schema_unknown: type":             {newDraft(typed("consent.invented", map[string]any{"a": 1})), ruling{"schema_unknown", "", "record.event_type", Term}},
		"schema_unknown: version":          {newDraft(column("version", 99)), ruling{"schema_unknown", "", "record.event_type", Term}},
		"schema_invalid: no record":        {newDraft(bytesOf(`{"action":"insert"}`)), ruling{"schema_invalid", "", "record", Term}},
		"schema_invalid: a column missing": {newDraft(bytesOf(record(func(r map[string]any) { delete(r, "occurred_at") }))), ruling{"schema_invalid", "", "record.occurred_at", Term}},
		"schema_invalid: event_id is no UUID": {newDraft(bytesOf(record(func(r map[string]any) { r["event_id"] = "17" }))),
			ruling{"schema_invalid", "", "record.event_id", Term}},
		"schema_invalid: event_id of version 4": {newDraft(bytesOf(record(func(r map[string]any) { r["event_id"] = v4 }))),
			ruling{"schema_invalid", "", "record.event_id", Term}},
		"schema_invalid: another day than the id's": {newDraft(bytesOf(record(func(r map[string]any) { r["recorded_on"] = "2020-02-02" }))),
			ruling{"schema_invalid", "", "record.recorded_on", Term}},
		"schema_invalid: a field missing":          {newDraft(field("httpMethod", nil)), ruling{"schema_invalid", "", "payload", Term}},
		"schema_invalid: a field is wrong":         {newDraft(field("statusCode", 1000)), ruling{"schema_invalid", "", "payload.statusCode", Term}},
		"schema_invalid: an unknown key":           {newDraft(field("52998224725", "x")), ruling{"schema_invalid", "", "payload", Term}},
		"schema_invalid: subject without a tenant": {newDraft(on("interactions.A_B.ofb")), ruling{"schema_invalid", "", "subject", Term}},
		"schema_invalid: subject of another family": {newDraft(on("events." + acme + ".ofb.consent.advanced")),
			ruling{"schema_invalid", "", "subject", Term}},
		"tenant_mismatch: the subject's":           {newDraft(on("interactions." + globex + ".ofb")), ruling{"tenant_mismatch", "", "subject", Term}},
		"tenant_mismatch: the payload's":           {newDraft(field("tenant_id", globex)), ruling{"tenant_mismatch", "", "payload.tenant_id", Term}},
		"tenant_unknown":                           {newDraft(of("nobody")), ruling{"tenant_unknown", "", "record.tenant_id", Term}},
		"personal_data: a label":                   {newDraft(column("correlation_id", "cpf 529.982.247-25")), ruling{"personal_data", "", "record.correlation_id", Term}},
		"personal_data: two labels":                {newDraft(column("source", "maria@example.com"), column("idempotency_key", "529.982.247-25")), ruling{"personal_data", "", "record.idempotency_key", Term}},
		"personal_data: the payload's free text":   {newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": "CPF 529.982.247-25"})), ruling{"personal_data", "", "payload.additionalInfo.rejectionReasonDetail", Term}},
		"unstorable: NUL":                          {newDraft(field("correlationId", "a\x00b")), ruling{"unstorable", "", "", Term}},
		"unstorable: beyond 2^53":                  {newDraft(field("processTimespan", json.Number("9007199254740993"))), ruling{"unstorable", "", "", Term}},
		"unstorable: year 10000":                   {newDraft(column("occurred_at", "10000-01-01T00:00:00Z")), ruling{"unstorable", "", "record.occurred_at", Term}},
		"organisation_unknown":                     {newDraft(field("clientOrgId", "11111111-1111-4111-8111-111111111111")), ruling{"organisation_unknown", "", "payload", Term}},
		"accepted":                                 {newDraft(), ruling{"accepted", "", "", Ack}},
		"accepted: the tenant is paused":           {newDraft(of("idle-bank")), ruling{"accepted", "", "", Ack}},
		"accepted: with a broken traceparent":      {newDraft(column("traceparent", "00-zz")), ruling{"accepted", "", "", Ack}},
		"canary":                                   {newDraft(of("platform"), column("event_type", event.InteractionCanary), canary()), ruling{"canary", "", "", Ack}},
		"canary of a bank":                         {newDraft(column("event_type", event.InteractionCanary), canary()), ruling{"schema_invalid", "", "record.tenant_id", Term}},
		"ineligible: a rule":                       {newDraft(field("endpoint", "/open-banking/consents/v3/consents")), ruling{"ineligible", "pilot_only", "", Ack}},
		"ineligible: an unlisted endpoint":         {newDraft(field("endpoint", "/internal/health")), ruling{"ineligible", "unlisted_endpoint", "", Ack}},
		"ineligible: the tenant is disabled":       {newDraft(of("closed-bank")), ruling{"ineligible", "tenant_disabled", "", Ack}},
		"ineligible: our own tenant":               {newDraft(of("platform")), ruling{"ineligible", "synthetic_tenant", "", Ack}},
		"accepted: open data":                      {newDraft(open()), ruling{"accepted", "", "", Ack}},
		"accepted: open data from an IPv6 address": {newDraft(open(), field("additionalInfo", map[string]any{"clientIp": "2001:db8::7"})), ruling{"accepted", "", "", Ack}},
		"ineligible: open data that we asked for":  {newDraft(open(), field("role", "CLIENT")), ruling{"ineligible", "role_not_reportable", "", Ack}},
		"schema_invalid: open data without an address": {newDraft(open(), field("additionalInfo", nil)),
			ruling{"schema_invalid", "", "payload.additionalInfo.clientIp", Term}},
		"schema_invalid: open data from no address": {newDraft(open(), field("additionalInfo", map[string]any{"clientIp": "203.0.113.77 or so"})),
			ruling{"schema_invalid", "", "payload.additionalInfo.clientIp", Term}},
		"schema_invalid: open data of nobody":           {newDraft(open(), field("serverOrgId", nil)), ruling{"schema_invalid", "", "payload.serverOrgId", Term}},
		"organisation_unknown: open data of a stranger": {newDraft(open(), field("serverOrgId", otherOrg)), ruling{"organisation_unknown", "", "payload", Term}},
		"ineligible: an API that is not reported yet":   {newDraft(typed("consent.advanced", map[string]any{"state": "AUTHORISED"})), ruling{"ineligible", "api_not_enabled", "", Ack}},
	}
}

// open is a call of open data, as its server records it: nobody knows who called.
func open() with {
	return both(field("role", "SERVER"), field("endpoint", openEndpoint), field("clientOrgId", nil), field("serverOrgId", ourOrg), field("clientSSId", nil),
		field("endpointUriPrefix", nil), field("additionalInfo", map[string]any{"clientIp": "203.0.113.7"}))
}

const openEndpoint = "/open-banking/opendata-loans/v1/business-loans"

func canary() with {
	return func(d *draft) { d.payload = map[string]any{"sentAt": time.Now().UTC().Format(time.RFC3339)} }
}

// Rows of the table that no single message has: what they need is stored, or
// happens to us.
func TestClassify(t *testing.T) {
	t.Parallel()
	known := newStore(t, testenv.Postgres(t)).known()
	for name, tc := range rulings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Meet(Classify(tc.message.delivered(1), known), Stored{})
			if _, row := d.Row(); row {
				d = Meet(Classify(tc.message.delivered(1), known), Stored{Inserted: true})
			}
			want := tc.want
			if want.where == "" && want.reason != "ineligible" {
				want.where = d.Where
			}
			if got := (ruling{d.Reason, d.Why, d.Where, d.Answer()}); got != want {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			if outcome, row := d.Row(); row == d.Quarantined() {
				t.Errorf("row %q and quarantined %v: want exactly one of both", outcome, d.Quarantined())
			}
			if (d.Report != nil) != (d.Reason == Accepted) {
				t.Errorf("%s: got a report: %v", d.Reason, d.Report != nil)
			}
			if again := Classify(tc.message.delivered(9), known); again.Reason != d.Reason || again.Where != d.Where || again.Why != d.Why {
				t.Errorf("the ninth delivery: got %s at %s, want %s at %s", again.Reason, again.Where, d.Reason, d.Where)
			}
		})
	}
}

func TestMeet(t *testing.T) {
	t.Parallel()
	same, other := [32]byte{1}, [32]byte{2}
	good := Decision{Reason: Accepted, Hash: same, Event: &event.Envelope{TenantID: acme}, Report: &submit.Report{}}
	held := Decision{Reason: Ineligible, Why: "pilot_only", Hash: same, Event: &event.Envelope{TenantID: acme}}
	broken := Decision{Reason: "schema_invalid", Where: "payload", Hash: same, Event: &event.Envelope{TenantID: acme}}
	foreign := Decision{Reason: TenantMismatch, Where: "subject", Hash: same, Event: &event.Envelope{TenantID: acme}}
	unread := Decision{Reason: "unreadable", Where: "byte 0"}
	panicked := Decision{Reason: HandlerPanic}
	for name, tc := range map[string]struct {
		d      Decision
		stored Stored
		want   Reason
		answer Answer
	}{
		"new":                                       {good, Stored{Inserted: true}, Accepted, Ack},
		"new and not reportable":                    {held, Stored{Inserted: true}, Ineligible, Ack},
		"the same again":                            {good, Stored{Hash: &same}, Duplicate, Ack},
		"not reportable, and again":                 {held, Stored{Hash: &same}, Duplicate, Ack},
		"the same id, another payload":              {good, Stored{Hash: &other}, Conflict, Term},
		"a broken copy of an event that was fine":   {broken, Stored{Hash: &other}, Conflict, Term},
		"the same, which this release finds broken": {broken, Stored{Hash: &same}, Duplicate, Ack},
		"the same, for another tenant":              {foreign, Stored{Hash: &same}, Conflict, Term},
		"an unreadable copy":                        {unread, Stored{Hash: &same}, Conflict, Term},
		"a copy that makes us panic":                {panicked, Stored{Hash: &same}, Duplicate, Ack},
		"the report key is another's":               {good, Stored{KeyTaken: true}, IDReused, Term},
		"waits for a person":                        {good, Stored{Quarantined: true}, Duplicate, Ack},
		"waits for a person, and the key is taken":  {good, Stored{Quarantined: true, KeyTaken: true}, Duplicate, Ack},
		"broken, and nobody knows it":               {broken, Stored{}, "schema_invalid", Term},
		"broken, and it waits for a person":         {broken, Stored{Quarantined: true}, "schema_invalid", Term},
		"unreadable":                                {unread, Stored{}, "unreadable", Term},
		"makes us panic, for the third time":        {panicked, Stored{}, HandlerPanic, Term},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Meet(tc.d, tc.stored)
			if d.Reason != tc.want || d.Answer() != tc.answer {
				t.Fatalf("got %s and answer %d, want %s and %d", d.Reason, d.Answer(), tc.want, tc.answer)
			}
			if d.Report != nil && d.Reason != Accepted {
				t.Error("it would still be reported")
			}
			if d.Again != (tc.stored.Quarantined && d.Quarantined()) {
				t.Errorf("got again %v", d.Again)
			}
		})
	}
}

// reporter answers as it is told.
type reporter func(*event.Envelope) (submit.Report, error)

func (r reporter) Report(e *event.Envelope, _ *tenant.Snapshot) (submit.Report, error) { return r(e) }

func TestWhatAReporterSaysIsKept(t *testing.T) {
	t.Parallel()
	known := newStore(t, testenv.Postgres(t)).known()
	for name, tc := range map[string]struct {
		err   error
		want  Reason
		where string
	}{
		"a defect of its own":    {&event.Defect{Reason: "organisation_unknown", Where: "payload"}, "organisation_unknown", "payload"},
		"an error of some other": {errors.New("what it says may hold a value"), "schema_invalid", "record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := known
			k.Report = reporter(func(*event.Envelope) (submit.Report, error) { return submit.Report{}, tc.err })
			if d := Classify(newDraft().delivered(1), k); d.Reason != tc.want || d.Where != tc.where {
				t.Fatalf("got %s at %s, want %s at %s", d.Reason, d.Where, tc.want, tc.where)
			}
		})
	}
}

// An event that cannot be told from its message has no page in the books, and
// one that can has, wherever the knowledge came from.
func TestAbout(t *testing.T) {
	t.Parallel()
	id := event.NewID(time.Now())
	for name, tc := range map[string]struct {
		m    Message
		want who
		ok   bool
	}{
		"header and subject":           {Message{Subject: "interactions.acme-bank.ofb", MsgID: id.String()}, who{acme, id}, true},
		"header and partitioned":       {Message{Subject: "p.7.events.acme-bank.ofb.consent.advanced", MsgID: id.String()}, who{acme, id}, true},
		"no header":                    {Message{Subject: "interactions.acme-bank.ofb"}, who{}, false},
		"a header that is no UUID":     {Message{Subject: "interactions.acme-bank.ofb", MsgID: "0/17A:3"}, who{}, false},
		"a header of version 4":        {Message{Subject: "interactions.acme-bank.ofb", MsgID: uuid.NewString()}, who{}, false},
		"a subject without a tenant":   {Message{Subject: "interactions.A_B.ofb", MsgID: id.String()}, who{}, false},
		"a subject of another service": {Message{Subject: "orders.acme-bank", MsgID: id.String()}, who{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Decision{Reason: "unreadable", Message: tc.m}.about()
			if ok != tc.ok || ok && got != tc.want {
				t.Fatalf("got %v, %v, want %v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

// A message that cannot be taken is known by its event, whatever a backfill puts
// into the header: the same one is set aside once.
func TestTheIDOfWhatCannotBeTaken(t *testing.T) {
	t.Parallel()
	const id, other = "01a1f8d3-ea00-7000-8000-000000000001", "01a1f8d3-ea00-7000-8000-000000000002"
	body := func(id string) string { return `{"record":{"event_id":"` + id + `","payload":{"n":9007199254740993}}}` }
	for name, tc := range map[string]struct{ header, body, want string }{
		"by the header":                    {id, `{`, id},
		"the header comes first":           {id, body(other), id},
		"by the record":                    {"NTU1OTc3NTIwOjA=", body(id), id},
		"without a header":                 {"", body(id), id},
		"a record whose id is none":        {"", body("1"), ""},
		"an id of another version":         {"", body("2f1f7c92-9a3e-4a7c-8d61-5a3f0c1b2d3e"), ""},
		"neither":                          {"x", `[]`, ""},
		"nesting without end":              {"", strings.Repeat(`{"record":`, 100_000), ""},
		"a record that is something else":  {"", `{"record":7}`, ""},
		"an id that is something else too": {"", `{"record":{"event_id":7}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Message{MsgID: tc.header, Body: []byte(tc.body)}.id()
			if ok != (tc.want != "") || ok && got.String() != tc.want {
				t.Errorf("got %v, %v, want %q", got, ok, tc.want)
			}
		})
	}
}
