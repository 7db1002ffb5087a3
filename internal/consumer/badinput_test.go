package consumer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// What must be in no sink, however it was written.
const (
	plantedCPF   = "529.982.247-25"
	plantedCNPJ  = "11.222.333/0001-81"
	plantedEmail = "maria.planted@example.com"
)

// disguises are the spellings under which personal data is planted.
var disguises = map[string]func(string) string{
	"plain":      func(s string) string { return s },
	"full-width": fullWidth,
	"in a URL":   url.QueryEscape,
	"in base64":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"in a string of JSON": func(s string) string {
		inner, _ := json.Marshal(map[string]string{"v": s})
		return string(inner)
	},
}

func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		if '!' <= r && r <= '~' {
			return r - '!' + '！'
		}
		return r
	}, s)
}

// planted are all spellings of all planted data, with their digits alone.
func planted() (all []string) {
	for _, secret := range []string{plantedCPF, plantedCNPJ, plantedEmail, digitsOf(plantedCPF), digitsOf(plantedCNPJ)} {
		for _, disguise := range disguises {
			all = append(all, disguise(secret))
		}
	}
	return all
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// input is one bad message; its name begins with the number of its group.
type input struct {
	message *draft
	want    ruling
	after   *draft // a good message that comes before it
}

func refusal(reason Reason, where string) ruling { return ruling{reason, "", where, Term} }

var good = ruling{reason: Accepted, answer: Ack}

// inputs are the groups of bad input that a message can bring.
func inputs() map[string]input {
	all := map[string]input{}
	for _, group := range []map[string]input{personalInputs(), controlInputs(), idInputs(), unreadableInputs(), timeInputs(), literalInputs()} {
		for name, in := range group {
			all[name] = in
		}
	}
	return all
}

func personalInputs() map[string]input {
	info := func(name string, value any) with { return field("additionalInfo", map[string]any{name: value}) }
	all := map[string]input{
		"1: a CPF as a key":                      {message: newDraft(field(digitsOf(plantedCPF), "x")), want: refusal("schema_invalid", "payload")},
		"1: an e-mail as a nested key":           {message: newDraft(info(plantedEmail, "x")), want: refusal("schema_invalid", "payload.additionalInfo")},
		"1: a CNPJ as a nested key":              {message: newDraft(info("personType", map[string]any{plantedCNPJ: 1})), want: refusal("schema_invalid", "payload.additionalInfo")},
		"1: a CPF as a column that nobody knows": {message: newDraft(column(plantedCPF, plantedCPF)), want: good},
		"1: a CPF for a number":                  {message: newDraft(field("statusCode", plantedCPF)), want: refusal("schema_invalid", "payload.statusCode")},
		"1: an e-mail for a time":                {message: newDraft(column("occurred_at", plantedEmail)), want: refusal("schema_invalid", "record.occurred_at")},
		"1: a CPF for an id":                     {message: newDraft(column("event_id", digitsOf(plantedCPF))), want: refusal("schema_invalid", "record.event_id")},
		"1: a CPF in the payload's correlationId": {message: newDraft(field("correlationId", digitsOf(plantedCPF))),
			want: refusal("personal_data", "payload.correlationId")},
		"1: a CPF as the subject's tenant": {message: newDraft(on("interactions." + digitsOf(plantedCPF) + ".ofb")), want: refusal(TenantMismatch, "subject")},
		"1: a CPF in the type": {message: newDraft(typed("consent."+digitsOf(plantedCPF), map[string]any{"state": "A"})),
			want: refusal("schema_unknown", "record.event_type")},
		"1: a CPF as the Nats-Msg-Id":           {message: newDraft(header(digitsOf(plantedCPF))), want: good},
		"1: an e-mail in a header":              {message: newDraft(carrying("X-Customer", plantedEmail)), want: good},
		"1: all of them where no record begins": {message: newDraft(bytesOf(`{"cpf":"` + plantedCPF + plantedCNPJ + plantedEmail)), want: refusal("unreadable", "")},
		"1: all of them in a frame of no record": {message: newDraft(bytesOf(`{"` + plantedCPF + `":"` + plantedEmail + `"}`)),
			want: refusal("schema_invalid", "record")},
	}
	for kind, secret := range map[string]string{"a CPF": plantedCPF, "a CNPJ": plantedCNPJ, "an e-mail": plantedEmail} {
		for how, disguise := range disguises {
			name := "1: " + kind + ", " + how + ", "
			all[name+"in a label"] = input{message: newDraft(column("correlation_id", "for "+disguise(secret))), want: refusal("personal_data", "record.correlation_id")}
			all[name+"in free text"] = input{message: newDraft(info("rejectionReasonDetail", "of "+disguise(secret)+" today")),
				want: refusal("personal_data", "payload.additionalInfo.rejectionReasonDetail")}
		}
	}
	return all
}

// controls steer a terminal, end a line, or begin a header.
const controls = "\r\nEvil: 1\r\n\x1b[2J\x1b]0;title\x07\x08\u202egnp\u2028"

func controlInputs() map[string]input {
	return map[string]input{
		"2: controls in labels": {message: newDraft(column("source", "a"+controls), column("correlation_id", "b"+controls), column("idempotency_key", "c"+controls),
			column("aggregate_type", "d"+controls), column("aggregate_id", "e"+controls)), want: good},
		"2: controls in free text":       {message: newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": controls})), want: good},
		"2: controls as a key":           {message: newDraft(field(controls, 1)), want: refusal("schema_invalid", "payload")},
		"2: controls in the endpoint":    {message: newDraft(field("endpoint", "/a"+controls)), want: refusal("schema_invalid", "payload.endpoint")},
		"2: controls in the type":        {message: newDraft(column("event_type", "interaction."+controls)), want: refusal("schema_invalid", "record.event_type")},
		"2: controls in the tenant":      {message: newDraft(column("tenant_id", "a"+controls)), want: refusal("schema_invalid", "record.tenant_id")},
		"2: controls in the traceparent": {message: newDraft(column("traceparent", "00-"+controls)), want: good},
		"2: controls instead of JSON":    {message: newDraft(bytesOf(controls)), want: refusal("unreadable", "")},
		"2: bare controls in a string":   {message: newDraft(bytesOf(`{"record":{"source":"` + controls + `"}}`)), want: refusal("unreadable", "")},
		"2: escapes in the subject":      {message: newDraft(on("interactions.a\x1b[2Jb.ofb")), want: refusal("schema_invalid", "subject")},
	}
}

func idInputs() map[string]input {
	first, exact := newDraft(), newDraft(field("correlationId", "9007199254740993"))
	long := strings.Repeat("a", 300)
	all := map[string]input{
		"3: the id of another payload": {after: first, message: first.again(field("statusCode", 404)), want: ruling{reason: Conflict, answer: Term}},

		"4: the subject's tenant differs":     {message: newDraft(on("interactions." + globex + ".ofb")), want: refusal(TenantMismatch, "subject")},
		"4: the record's tenant differs":      {message: newDraft(column("tenant_id", globex)), want: refusal(TenantMismatch, "subject")},
		"4: the payload's tenant differs":     {message: newDraft(field("tenant_id", globex)), want: refusal(TenantMismatch, "payload.tenant_id")},
		"4: the payload's is null":            {message: newDraft(func(d *draft) { d.payload["tenant_id"] = nil }), want: refusal("schema_invalid", "payload")},
		"4: all three differ":                 {message: newDraft(column("tenant_id", globex), field("tenant_id", "idle-bank")), want: refusal(TenantMismatch, "subject")},
		"4: a tenant that nobody knows":       {message: newDraft(of("nobody")), want: refusal(TenantUnknown, "record.tenant_id")},
		"4: somebody writes for our own":      {message: newDraft(column("tenant_id", event.PlatformTenant)), want: refusal(TenantMismatch, "subject")},
		"4: the same, on the other stream":    {message: newDraft(typed("consent.advanced", map[string]any{"state": "A"}), column("tenant_id", globex)), want: refusal(TenantMismatch, "subject")},
		"5: a subject's token of 300":         {message: newDraft(on("interactions." + long + ".ofb")), want: refusal("schema_invalid", "subject")},
		"5: a subject's token with a >":       {message: newDraft(on("interactions.a>b.ofb")), want: refusal("schema_invalid", "subject")},
		"5: a subject's token with a *":       {message: newDraft(on("interactions.a*b.ofb")), want: refusal("schema_invalid", "subject")},
		"5: a subject's type of 300":          {message: newDraft(typed("consent.advanced", map[string]any{"state": "A"}), on("events."+acme+".ofb.consent."+long)), want: refusal("schema_invalid", "subject")},
		"7: an integer beyond 2^53":           {message: newDraft(field("processTimespan", json.Number("9007199254740993"))), want: refusal("unstorable", "")},
		"7: an integer below -2^53":           {message: newDraft(column("aggregate_version", json.Number("-9007199254740993"))), want: refusal("unstorable", "")},
		"7: a column beyond int64":            {message: newDraft(column("version", json.Number("99999999999999999999"))), want: refusal("unstorable", "")},
		"7: as a string it is kept":           {message: exact, want: good},
		"7: and told from its neighbour":      {after: exact, message: exact.again(field("correlationId", "9007199254740992")), want: ruling{reason: Conflict, answer: Term}},
		"8: a malformed traceparent":          {message: newDraft(column("traceparent", "00-zz-zz-zz")), want: good},
		"8: a traceparent of another version": {message: newDraft(column("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like")), want: good},
		"8: a traceparent of zeros":           {message: newDraft(column("traceparent", "00-"+strings.Repeat("0", 32)+"-"+strings.Repeat("0", 16)+"-00")), want: good},
		"8: a traceparent of 64 KB":           {message: newDraft(column("traceparent", strings.Repeat("0", 64<<10))), want: good},
		"8: a traceparent that is no string":  {message: newDraft(column("traceparent", 7)), want: refusal("schema_invalid", "record.traceparent")},
		"8: a foreign header":                 {message: newDraft(carrying("traceparent", "ff-"+long)), want: good},
		"8: a tracestate of 60 KB":            {message: newDraft(carrying("tracestate", strings.Repeat("a=b,", 15<<10))), want: good},
		"8: baggage of 60 KB":                 {message: newDraft(carrying("baggage", strings.Repeat("k=%41,", 10<<10))), want: good},
	}
	for what, token := range map[string]string{"a dot": "a.b", "a star": "*", "a >": ">", "a space": "a b", "300 characters": long, "nothing": ""} {
		all["5: a tenant with "+what] = input{message: newDraft(column("tenant_id", token)), want: refusal("schema_invalid", "record.tenant_id")}
	}
	for what, token := range map[string]string{"an empty token": "consent..x", "a star": "consent.*", "a >": "consent.>", "a space": "consent.a b", "300 characters": "consent." + long} {
		all["5: a type with "+what] = input{message: newDraft(column("event_type", token)), want: refusal("schema_invalid", "record.event_type")}
	}
	return all
}

func unreadableInputs() map[string]input {
	whole := string(newDraft().bytes())
	payload := func(json string) with { return bytesOf(`{"record":{"payload":` + json + `}}`) }
	return map[string]input{
		"6: a duplicate key in the payload": {message: newDraft(payload(`{"a":1,"a":2}`)), want: refusal("unreadable", "")},
		"6: a duplicate record":             {message: newDraft(bytesOf(strings.Replace(whole, `"record":`, `"record":{},"record":`, 1))), want: refusal("unreadable", "")},
		"6: a duplicate key, escaped":       {message: newDraft(payload(`{"a":1,"\u0061":2}`)), want: refusal("unreadable", "")},
		"6: NaN":                            {message: newDraft(payload(`{"a":NaN}`)), want: refusal("unreadable", "")},
		"6: Infinity":                       {message: newDraft(payload(`{"a":-Infinity}`)), want: refusal("unreadable", "")},
		"6: 1e400":                          {message: newDraft(field("processTimespan", json.Number("1e400"))), want: refusal("unstorable", "")},
		"6: depth 10,000":                   {message: newDraft(payload(strings.Repeat("[", 10000) + strings.Repeat("]", 10000))), want: refusal("unreadable", "depth")},
		"6: depth 10,000, never closed":     {message: newDraft(payload(strings.Repeat(`{"a":`, 10000))), want: refusal("unreadable", "depth")},
		"6: a byte order mark":              {message: newDraft(bytesOf("\xef\xbb\xbf" + whole)), want: refusal("unreadable", "byte 0")},
		"6: UTF-16":                         {message: newDraft(bytesOf("\xff\xfe{\x00}\x00")), want: refusal("unreadable", "byte 0")},
		"6: bad UTF-8 in a string":          {message: newDraft(payload("{\"a\":\"\xc3\x28\"}")), want: refusal("unreadable", "")},
		"6: an overlong NUL":                {message: newDraft(payload("{\"a\":\"\xc0\x80\"}")), want: refusal("unreadable", "")},
		"6: a lone surrogate":               {message: newDraft(payload(`{"a":"\ud800"}`)), want: refusal("unreadable", "")},
		"6: trailing data":                  {message: newDraft(bytesOf(whole + "x")), want: refusal("unreadable", "")},
		"6: two documents":                  {message: newDraft(bytesOf(whole + whole)), want: refusal("unreadable", "")},
		"6: half a document":                {message: newDraft(bytesOf(whole[:len(whole)/2])), want: refusal("unreadable", "")},
		"6: nothing":                        {message: newDraft(bytesOf("")), want: refusal("unreadable", "byte 0")},
		"6: a payload of 400 KB": {message: newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": strings.Repeat("x", 400<<10)})),
			want: refusal("too_large", "record.payload")},
	}
}

func timeInputs() map[string]input {
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	here := newDraft(column("occurred_at", noon.Format("2006-01-02T15:04:05.000000Z")))
	brasilia := time.FixedZone("", -3*60*60)
	return map[string]input{
		"9: occurred tomorrow":             {message: newDraft(column("occurred_at", noon.AddDate(0, 0, 1).Format(time.RFC3339))), want: good},
		"9: occurred in year 9999":         {message: newDraft(column("occurred_at", "9999-12-31T23:59:59.999999Z")), want: good},
		"9: occurred in year 0":            {message: newDraft(column("occurred_at", "0000-12-31T23:59:59Z")), want: refusal("unstorable", "record.occurred_at")},
		"9: in year 10000, once it is UTC": {message: newDraft(column("occurred_at", "9999-12-31T23:59:59-03:00")), want: refusal("unstorable", "record.occurred_at")},
		"9: occurred before Christ":        {message: newDraft(column("occurred_at", "0044-03-15T12:00:00Z BC")), want: refusal("unstorable", "record.occurred_at")},
		"9: occurred in a leap second":     {message: newDraft(column("occurred_at", "2016-12-31T23:59:60Z")), want: refusal("schema_invalid", "record.occurred_at")},
		"9: the same moment elsewhere": {after: here, message: here.again(column("occurred_at", noon.In(brasilia).Format(time.RFC3339))),
			want: ruling{reason: Duplicate, answer: Ack}},
		"9: a call 30 days ago": {message: newDraft(field("timestamp", noon.AddDate(0, 0, -30).Format(time.RFC3339))),
			want: ruling{Ineligible, "expired", "", Ack}},
		"9: a call in Brasília":        {message: newDraft(field("timestamp", time.Now().In(brasilia).Format(time.RFC3339))), want: good},
		"9: a call in year 0":          {message: newDraft(field("timestamp", "0000-01-01T00:00:00Z")), want: refusal("schema_invalid", "payload.timestamp")},
		"9: a call in a leap second":   {message: newDraft(field("timestamp", "2016-12-31T23:59:60Z")), want: refusal("schema_invalid", "payload.timestamp")},
		"9: a call without a zone":     {message: newDraft(field("timestamp", "2026-01-01T00:00:00")), want: refusal("schema_invalid", "payload.timestamp")},
		"9: another day than the id's": {message: newDraft(column("event_id", event.NewID(noon).String()), column("recorded_on", "2020-02-02")), want: refusal("schema_invalid", "record.recorded_on")},
	}
}

// statements end what Postgres, a shell or a template would begin.
const statements = `'); DROP TABLE event_runtime.outbox; -- \' $$ %s {{.}} ${x} $(id) ` + "`id`" + ` /* ; @tenant_id :id $1`

func literalInputs() map[string]input {
	return map[string]input{
		"10: SQL in labels": {message: newDraft(column("source", statements), column("correlation_id", statements), column("idempotency_key", statements),
			column("aggregate_type", statements), column("aggregate_id", statements)), want: good},
		"10: SQL in free text":             {message: newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": statements})), want: good},
		"10: SQL as a key":                 {message: newDraft(field(statements, 1)), want: refusal("schema_invalid", "payload")},
		"10: SQL in the subject":           {message: newDraft(on("interactions.a');--.ofb")), want: refusal("schema_invalid", "subject")},
		"10: SQL in the tenant":            {message: newDraft(column("tenant_id", statements)), want: refusal("schema_invalid", "record.tenant_id")},
		"10: NUL in a label":               {message: newDraft(column("source", "a\x00b")), want: refusal("unstorable", "")},
		"10: NUL in the payload":           {message: newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": "\x00"})), want: refusal("unstorable", "")},
		"10: NUL as a key":                 {message: newDraft(field("\x00", 1)), want: refusal("unstorable", "")},
		"10: NUL in a column of no one":    {message: newDraft(column("next", "\x00")), want: refusal("unstorable", "")},
		"10: NUL in the tenant":            {message: newDraft(column("tenant_id", "a\x00")), want: refusal("unstorable", "")},
		"10: a backslash before u0000":     {message: newDraft(field("additionalInfo", map[string]any{"rejectionReasonDetail": `\u0000`})), want: good},
		"10: a bare NUL where JSON begins": {message: newDraft(bytesOf("\x00{}")), want: refusal("unreadable", "byte 0")},
	}
}

// Each bad message comes once, ends where its group says, takes no good one with
// it, and leaves nothing of what it said in any place that people read.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := r.terms()
	all, drafts, sent := inputs(), map[string]*draft{}, int64(0)
	publish := func(d *draft, appended bool) {
		if appended {
			r.append(d)
		}
		r.publish(d)
		sent++
	}
	first := map[*draft]bool{}
	for _, in := range all {
		if in.after != nil && !first[in.after] {
			first[in.after] = true
			publish(in.after, true)
		}
	}
	for name, in := range all {
		drafts[name] = in.message
		if !first[in.message] {
			publish(in.message, in.want.reason == Accepted || in.want.reason == Ineligible)
		}
	}
	stop := r.start()
	r.settled()
	r.allTold()
	stop()
	terminated := 0
	for _, in := range all {
		if in.want.answer == Term {
			terminated++
		}
	}
	eventually(t, "the server has told every term", func() bool { return heard.count() == terminated })
	if got := r.durable(transport.Interactions).Delivered.Consumer + r.durable(transport.Events).Delivered.Consumer; int64(got) != sent {
		t.Errorf("got %d deliveries of %d messages, want each once", got, sent)
	}
	notices, published := r.notices(), r.sequences(drafts)
	for name, in := range all {
		t.Run(name, func(t *testing.T) {
			switch in.want.reason {
			case Conflict:
				wantConflict(t, r, in.message, heard.of(streamOf(published[name]), published[name].Sequence))
			case Duplicate:
				wantRow(t, r, in.message, good)
			case Accepted, Ineligible:
				wantRow(t, r, in.message, in.want)
			default:
				wantAside(t, r, in.message, in.want, published[name], notices, heard)
			}
		})
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE recorded_on <> event_runtime.event_day(event_id)`); got != 0 {
		t.Errorf("got %d rows on another day than their id's, want none", got)
	}
	r.whole()
	r.wantSilentSinks(t)
}

func wantConflict(t *testing.T, r *rig, d *draft, term string) {
	t.Helper()
	if got := r.place(acme, d.id); got != "accepted" || term != string(Conflict) {
		t.Errorf("got %q and term %q, want the first one's row and a conflict", got, term)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.event_conflicts WHERE event_id = $1 AND first_hash <> other_hash`, d.id); got != 1 {
		t.Errorf("got %d conflicts, want 1", got)
	}
}

const sqlSinks = `
SELECT coalesce((SELECT string_agg(q::text, E'\n') FROM event_runtime.quarantine q), '') || coalesce((SELECT string_agg(c::text, E'\n') FROM event_runtime.event_conflicts c), '')
    || coalesce((SELECT string_agg(b::text, E'\n') FROM event_runtime.books b), '')`

// wantSilentSinks looks for what was planted wherever people and machines look.
func (r *rig) wantSilentSinks(t *testing.T) {
	t.Helper()
	sinks := map[string]string{"the log": r.logs.String()}
	var rows string
	if err := r.pool.QueryRow(t.Context(), sqlSinks).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	sinks["the tables"] = rows
	for _, notice := range r.notices() {
		sinks["the DLQ"] += fmt.Sprintln(notice.Subject(), notice.Headers(), string(notice.Data()))
	}
	var metrics metricdata.ResourceMetrics
	if err := readings.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	sinks["the metrics"] = fmt.Sprintf("%+v", metrics.ScopeMetrics)
	for where, text := range sinks {
		if len(text) < 100 {
			t.Errorf("%s: got %d bytes, want something to look at", where, len(text))
		}
		for _, secret := range append(planted(), "Evil: 1", "DROP TABLE") {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q", where, secret)
			}
		}
		if at := strings.IndexFunc(text, func(c rune) bool { return c < ' ' && c != '\n' || c == '\u202e' || c == '\u2028' }); at >= 0 {
			t.Errorf("%s holds a control character: %q", where, text[max(at-40, 0):at+1])
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(sinks["the log"]), "\n") {
		if !json.Valid([]byte(line)) || !strings.HasPrefix(line, "{") {
			t.Errorf("a line of the log is no line of its own: %q", line)
		}
	}
}
