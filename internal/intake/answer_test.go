package intake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
)

// asked is a request and what it must be answered with; the refusals are
// "index field reason".
type asked struct {
	call     call
	status   int
	code     string
	refusals []string
}

func header(name, value string) func(*call) {
	return func(c *call) { c.header = map[string]string{name: value} }
}

func body(text string) func(*call) { return func(c *call) { c.body = text } }

// of is an event with more members.
func of(more string) string { return strings.TrimSuffix(plain, "}") + "," + more + "}" }

func answers() map[string]asked {
	no := func(change func(*call), status int, code string, refusals ...string) asked {
		return asked{good("k").with(change), status, code, refusals}
	}
	taken := event.NewID(time.Now()).String()
	return map[string]asked{
		"GET":                       no(func(c *call) { c.method = http.MethodGet }, 405, "method_not_allowed"),
		"PUT":                       no(func(c *call) { c.method = http.MethodPut }, 405, "method_not_allowed"),
		"no token":                  no(header("Authorization", "-"), 401, "token_missing"),
		"an empty token":            no(header("Authorization", "Bearer "), 401, "token_unknown"),
		"another scheme":            no(header("Authorization", "Basic "+acmeToken), 401, "token_unknown"),
		"nobody's token":            no(func(c *call) { c.token = acmeToken + "0" }, 401, "token_unknown"),
		"half a token":              no(func(c *call) { c.token = acmeToken[:36] }, 401, "token_unknown"),
		"a form":                    no(header("Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media"),
		"no type":                   no(header("Content-Type", "-"), 415, "unsupported_media"),
		"compressed":                no(header("Content-Encoding", "gzip"), 415, "unsupported_media"),
		"no key":                    no(header("Idempotency-Key", "-"), 400, "key_missing"),
		"an empty key":              no(func(c *call) { c.key = "" }, 400, "key_invalid"),
		"a key of 256":              no(func(c *call) { c.key = strings.Repeat("k", 256) }, 400, "key_invalid"),
		"a key with a space":        no(func(c *call) { c.key = "a b" }, 400, "key_invalid"),
		"a key beyond ASCII":        no(func(c *call) { c.key = "clé" }, 400, "key_invalid"),
		"a body beyond its size":    no(body(batch(of(`"source":"`+strings.Repeat("x", 1<<20)+`"`))), 413, "too_large"),
		"no body":                   no(body(""), 400, "unreadable"),
		"no JSON":                   no(body("events"), 400, "unreadable"),
		"an array":                  no(body("["+plain+"]"), 400, "unreadable"),
		"half of it":                no(body(batch(plain)[:40]), 400, "unreadable"),
		"more behind it":            no(body(batch(plain)+"{}"), 400, "unreadable"),
		"another member":            no(body(`{"events":[`+plain+`],"more":1}`), 400, "unreadable"),
		"events twice":              no(body(`{"events":[],"events":[`+plain+`]}`), 400, "unreadable"),
		"a key twice in a payload":  no(body(batch(`{"ecosystem":"ofb","event_type":"a.b","payload":{"a":1,"a":2}}`)), 400, "unreadable"),
		"bad UTF-8":                 no(body(batch(of("\"source\":\"\xff\""))), 400, "unreadable"),
		"events that are no list":   no(body(`{"events":{}}`), 400, "unreadable"),
		"no events":                 no(body(`{"events":[]}`), 422, "count_out"),
		"no list":                   no(body(`{}`), 422, "count_out"),
		"too many":                  no(body(batch(slices.Repeat([]string{plain}, 1001)...)), 422, "count_out"),
		"another tenant's":          no(body(batch(plain, of(`"tenant_id":"beta"`))), 403, "foreign_tenant", "1 tenant_id foreign_tenant"),
		"nobody's tenant":           no(body(batch(of(`"tenant_id":""`))), 403, "foreign_tenant", "0 tenant_id foreign_tenant"),
		"with the other's token":    no(func(c *call) { c.token, c.body = betaToken, batch(of(`"tenant_id":"acme-bank"`)) }, 403, "foreign_tenant", "0 tenant_id foreign_tenant"),
		"events that are no object": no(body(batch(`1`, plain, `null`, `{}`)), 422, "events_refused", "0 event schema_invalid", "2 event schema_invalid", "3 payload unreadable"),
		"a member of nobody":        no(body(batch(plain, of(`"recorded_at":"2026-01-01T00:00:00Z"`))), 422, "events_refused", "1 event schema_invalid"),
		"another type of JSON":      no(body(batch(of(`"version":"1"`), of(`"source":1`), of(`"aggregate_version":1.5`))), 422, "events_refused", "0 version schema_invalid", "1 source schema_invalid", "2 aggregate_version schema_invalid"),
		"a time that is none":       no(body(batch(of(`"occurred_at":"yesterday"`), of(`"occurred_at":""`))), 422, "events_refused", "0 occurred_at schema_invalid", "1 occurred_at schema_invalid"),
		"what Append refuses, all of it": no(body(batch(of(`"event_id":"17"`), plain, `{"ecosystem":"psd2","event_type":"a.b","payload":1}`, `{"ecosystem":"ofb","event_type":"a..b","payload":1}`, `{"ecosystem":"ofb","event_type":"a.b"}`,
			`{"ecosystem":"ofb","event_type":"a.b","payload":{"a":9007199254740993}}`, `{"ecosystem":"ofb","event_type":"a.b","payload":{"a":"\u0000"}}`, `{"ecosystem":"ofb","event_type":"consent.advanced","payload":{"state":7}}`, of(`"version":2147483648`))), 422, "events_refused",
			"0 event_id schema_invalid", "2 ecosystem schema_invalid", "3 event_type schema_invalid", "4 payload unreadable", "5 payload unstorable", "6 payload unstorable", "7 payload.state schema_invalid", "8 version schema_invalid"),
		"an id twice":       no(body(batch(of(`"event_id":"`+taken+`"`), plain, of(`"event_id":"`+strings.ToUpper(taken)+`"`))), 422, "events_refused", "2 event_id taken"),
		"an old id":         no(body(batch(plain, of(`"event_id":"`+event.NewID(time.Now().Add(-25*time.Hour)).String()+`"`))), 422, "events_refused", "1 event_id out_of_time"),
		"an id of tomorrow": no(body(batch(of(`"event_id":"`+event.NewID(time.Now().Add(time.Hour)).String()+`"`))), 422, "events_refused", "0 event_id out_of_time"),
	}
}

// Each refusal has its status and its code, names every event that is wrong, and
// leaves nothing: the same key is good for the batch that is mended.
func TestAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, tc := range answers() {
		t.Run(name, func(t *testing.T) {
			got := r.do(tc.call)
			var refusals []string
			for _, f := range got.problem.Refusals {
				refusals = append(refusals, fmt.Sprintf("%d %s %s", f.Index, f.Field, f.Reason))
			}
			if got.status != tc.status || got.code() != tc.code || !slices.Equal(refusals, tc.refusals) {
				t.Errorf("got %d %s %q, want %d %s %q", got.status, got.code(), refusals, tc.status, tc.code, tc.refusals)
			}
			if p := got.problem; p.Status != tc.status || p.Title == "" || p.CorrelationID == "" || p.CorrelationID != got.header.Get("X-Correlation-Id") {
				t.Errorf("got the problem %+v with %v", p, got.header)
			}
			for status, name := range map[int]string{401: "WWW-Authenticate", 405: "Allow"} {
				if (got.header.Get(name) != "") != (got.status == status) {
					t.Errorf("%s: got %q with status %d", name, got.header.Get(name), got.status)
				}
			}
		})
	}
	r.want(0, 0)
	if got := r.do(good("k")); got.status != http.StatusCreated || len(got.ids) != 2 {
		t.Errorf("the mended batch: got %d %s", got.status, got.body)
	}
	r.want(2, 1)
}

// An id that another request brought is refused by name, and the batch with it.
func TestAnEventThatIsThereAlready(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	with := of(`"event_id":"` + event.NewID(time.Now()).String() + `"`)
	first := r.do(good("first").with(body(batch(with))))
	again := r.do(good("second").with(body(batch(plain, with, plain))))
	if first.status != 201 || again.status != 422 || len(again.problem.Refusals) != 1 || again.problem.Refusals[0] != (api.Refusal{Index: 1, Field: "event_id", Reason: "taken", Hint: "an event with this id is there already"}) {
		t.Errorf("got %d, then %d %+v", first.status, again.status, again.problem)
	}
	r.want(1, 1)
}

func TestCorrelation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, tc := range map[string]struct {
		given string
		kept  bool
	}{
		"given": {"c-1/abc", true}, "none": {"-", false}, "with a space": {"a b", false}, "of 129": {strings.Repeat("c", 129), false}, "a CPF": {"529.982.247-25", false},
	} {
		got := r.do(good("k").with(header("X-Correlation-Id", tc.given))).header.Get("X-Correlation-Id")
		if tc.kept != (got == tc.given) || got == "" || !strings.Contains(r.log.String(), `"correlation_id":"`+got+`"`) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// Wherever a caller puts personal data, no answer and no line of the log has it.
func TestNothingPersonalIsSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const cpf = "529.982.247-25"
	for name, change := range map[string]func(*call){
		"the token": func(c *call) { c.token = cpf }, "the key": func(c *call) { c.key = cpf }, "a long key": func(c *call) { c.key = strings.Repeat(cpf, 30) },
		"a member of the batch": body(`{"` + cpf + `":1}`), "a member of an event": body(batch(of(`"` + cpf + `":1`))), "no JSON": body(cpf), "a value cut off": body(`{"events":["` + cpf),
		"the tenant": body(batch(of(`"tenant_id":"` + cpf + `"`))), "the type": body(batch(`{"ecosystem":"ofb","event_type":"` + cpf + ` x","payload":1}`)), "the id": body(batch(of(`"event_id":"` + cpf + `"`))),
		"a time": body(batch(of(`"occurred_at":"` + cpf + `"`))), "a label": body(batch(of(`"source":"` + cpf + `"`))), "a payload's name": body(batch(`{"ecosystem":"ofb","event_type":"consent.advanced","payload":{"` + cpf + `":1,"state":7}}`)),
		"a number's place": body(batch(of(`"version":"` + cpf + `"`))), "a header": header("X-Correlation-Id", cpf), "a type of content": header("Content-Type", cpf),
	} {
		got := r.do(good("k").with(change))
		said := got.body + fmt.Sprint(got.header)
		if strings.Contains(said, cpf) {
			t.Errorf("%s: answered %s", name, said)
		}
		if kind, found := denylist.Find(got.body); found {
			t.Errorf("%s: found %s in %s", name, kind, got.body)
		}
	}
	if log := r.log.String(); strings.Contains(log, cpf) || strings.Contains(log, acmeToken) {
		t.Errorf("logged %s", log)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.idempotency_keys k WHERE k::text LIKE '%529%982%'`); got != 0 {
		t.Errorf("%d keys hold what their producer wrote", got)
	}
}
