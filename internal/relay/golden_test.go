package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

// captured is one message that Sequin sent: testdata/README.md.
type captured struct {
	Step    string          `json:"step"`
	Subject string          `json:"subject"`
	Header  string          `json:"header"`
	Body    json.RawMessage `json:"body"`
}

const (
	backfillStep = "backfill of what is left"

	longStep = "five thousand rows in one transaction"
	longRows = 5000
)

// cases are the contract's cases, and the steps of the capture that show them.
// C30 is TestCaptureWithoutStream; what C8 and C12 say of other published tables
// and of days that are gone, no capture shows: TestOtherTablesCount,
// TestDaysDroppedBeforeTheyAreRead.
var cases = map[string][]string{
	"C1 one row":                        {"single"},
	"C2 interactions travel apart":      {"event types of every allowed shape", "slugs at the edges of what a tenant may be called"},
	"C3 odd values get a subject":       {"rows that the constraints refuse"},
	"C5 several rows in a transaction":  {"several in one transaction (one aggregate, then another)", "two tenants on different hash partitions, three days, one transaction", longStep, "savepoint rolled back", "insert on conflict do nothing (expect one)"},
	"C6 annotations":                    {"annotations"},
	"C7 annotation that is not JSON":    {"annotation that is not JSON"},
	"C8 other tables and messages":      {"a table that is not published, in the same transaction", "logical message outside a transaction, then a row"},
	"C9 traceparent":                    {"single", "every optional column null", "rows that the constraints refuse"},
	"C10 numbers in jsonb":              {"numbers, times, dates at the edges"},
	"C11 timestamptz":                   {"numbers, times, dates at the edges"},
	"C12 partitions":                    {"insert straight into a leaf partition", "copy", "a new day is made and used at once"},
	"C13 what is not sent":              {"an update that moves a row to another day (expect an insert)", "insert, update and delete in one transaction", "a row, then its day detached concurrently, then dropped", "truncate of a day (expect nothing)"},
	"every JSON type, unicode and size": {"nested payload and every JSON type at its top", "unicode and characters that JSON or HTML might escape", "payload of 200 KB"},
}

// TestCaptures runs the rows that Sequin was given, step by step, and compares
// what the relay sends with what Sequin sent.
func TestCaptures(t *testing.T) {
	t.Parallel()
	r := captureRig(t)
	r.provision()
	wire := r.overhear()
	run := r.start()
	want := readCaptures(t)
	got := map[string][]*nats.Msg{}
	conn := r.pg.Conn(testenv.Superuser)
	for _, s := range readSteps(t) {
		s.run(t, conn)
		n := len(want[s.name])
		if s.name == longStep {
			n = longRows
		}
		for range n {
			select {
			case m := <-wire:
				got[s.name] = append(got[s.name], m)
			case <-time.After(patience):
				t.Fatalf("step %q: got %d messages, want %d", s.name, len(got[s.name]), n)
			}
		}
	}
	r.confirmed() // so nothing more comes
	if n := len(wire); n > 0 {
		t.Errorf("got %d messages more than Sequin sent", n)
	}
	run.stop()
	// The row that was moved to another day is published twice and stored once.
	if got, want := r.count(), uint64(64+longRows); got != want {
		t.Errorf("got %d messages in the streams, want %d", got, want)
	}

	compared := map[string]bool{}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			for _, step := range steps {
				compared[step] = true
				compareStep(t, step, got[step], want[step])
			}
		})
	}
	for _, step := range slices.Sorted(maps.Keys(want)) {
		if !compared[step] {
			t.Errorf("step %q is not among the cases", step)
		}
	}
}

// TestCaptureWithoutStream is C30. Sequin sent the row and was done with it; here
// the same message is sent again until a stream has it.
func TestCaptureWithoutStream(t *testing.T) {
	t.Parallel()
	r := captureRig(t)
	r.cfg.AckTimeout = 200 * time.Millisecond // whoever overhears counts as somebody who listens, and does not answer
	r.start()
	const name = "single"
	for _, s := range readSteps(t) {
		if s.name == name {
			s.run(t, r.pg.Conn(testenv.Superuser))
		}
	}
	behind := r.here()
	r.log.await(t, noStream)
	select {
	case again := <-r.overhear():
		compareStep(t, name, []*nats.Msg{again}, readCaptures(t)[name])
	case <-time.After(patience):
		t.Fatal("the message was not sent again")
	}
	r.notReached(behind)
	r.provision()
	await(t, "the stream to have it", func() bool { return r.count() == 1 })
	r.confirmed()
}

// captureRig has the schema and the slot of the capture, and no streams.
func captureRig(t *testing.T) *rig {
	t.Helper()
	r := bareRig(t, testenv.Cluster(t, testenv.Raw()))
	for _, sql := range statements(file(t, "testdata/outbox/schema.sql")) {
		r.pg.Exec(sql)
	}
	return r
}

// overhear is told every message as it is published, before a stream changes its
// subject or drops it.
func (r *rig) overhear(subjects ...string) <-chan *nats.Msg {
	r.t.Helper()
	nc := r.nats.Conn()
	wire := make(chan *nats.Msg, 2*longRows)
	if len(subjects) == 0 {
		subjects = []string{"events.>", "interactions.>"}
	}
	for _, subject := range subjects {
		if _, err := nc.ChanSubscribe(subject, wire); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
	return wire
}

// compareStep pairs messages by id and number in their transaction: order is not
// promised.
func compareStep(t *testing.T, step string, got []*nats.Msg, want []captured) {
	t.Helper()
	byKey := map[string]*nats.Msg{}
	lsns := map[string]bool{}
	for _, m := range got {
		body := read[map[string]any](t, m.Data)
		checkRules(t, m, body)
		lsns[meta(body)["commit_lsn"].(json.Number).String()] = true
		byKey[key(body)] = m
	}
	if strings.Contains(step, "one transaction") && len(lsns) != 1 {
		t.Errorf("step %q: got %d commit_lsn, want one", step, len(lsns))
	}
	if len(byKey) != len(got) {
		t.Errorf("step %q: got %d different messages among %d", step, len(byKey), len(got))
	}
	for _, w := range want {
		body := longAgain(w.Body)
		id := key(read[map[string]any](t, body))
		m := byKey[id]
		if m == nil {
			t.Errorf("step %q: no message %s", step, id)
			continue
		}
		if m.Subject != w.Subject {
			t.Errorf("step %q: got subject %q, want %q", step, m.Subject, w.Subject)
		}
		if got, want := headerLines(m.Header), wantLines(w.Header); !slices.Equal(got, want) {
			t.Errorf("step %q: got header %q, want %q", step, got, want)
		}
		compareBodies(t, step, m.Data, body)
	}
}

func compareBodies(t *testing.T, step string, got, want []byte) {
	t.Helper()
	if got, want := len(got), lengthOf(spelled(t, got)); got != want {
		t.Errorf("step %q: got a body of %d bytes, want %d: it has spaces, or a key twice", step, got, want)
	}
	if got, want := compared(t, got), compared(t, want); !reflect.DeepEqual(got, want) {
		t.Errorf("step %q:\n got %v\nwant %v", step, got, want)
	}
}

// longAgain puts the 200 KB back that the captures leave out.
func longAgain(body []byte) []byte {
	return bytes.ReplaceAll(body, []byte("0123456789 twenty thousand times"), bytes.Repeat([]byte("0123456789"), 20000))
}

// checkConsumer holds the ids to their rule.
func checkConsumer(t *testing.T, body map[string]any, sink string) {
	t.Helper()
	md := meta(body)
	if got, want := md["consumer"].(map[string]any)["id"], idOf("sink", sink); got != want {
		t.Errorf("got consumer.id %v, want %v", got, want)
	}
	if got, want := md["database"].(map[string]any)["id"], idOf("database", md["database_name"].(string)); got != want {
		t.Errorf("got database.id %v, want %v", got, want)
	}
}

func meta(body map[string]any) map[string]any { return body["metadata"].(map[string]any) }

func key(body map[string]any) string {
	return fmt.Sprint(body["record"].(map[string]any)["event_id"], " idx ", meta(body)["commit_idx"])
}

// incomparable are the fields that differ from run to run, and why. checkRules
// holds each to the rule it follows. All else is compared as it is spelled, but
// for the order of keys, which Sequin changes from start to start, and what escape
// says.
var incomparable = map[string]string{
	"metadata.commit_lsn":       "is where the log stands",
	"metadata.commit_timestamp": "is when the row was committed",
	"metadata.idempotency_key":  "is made of commit_lsn and commit_idx",
	"metadata.consumer.id":      "is drawn by lot there, and made from the name here",
	"metadata.database.id":      "is drawn by lot there, and made from the name here",
}

// compared reads a body by its spelling, without what is incomparable.
func compared(t *testing.T, body []byte) any {
	t.Helper()
	v := spelled(t, body)
	for path := range incomparable {
		at := v
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = at.(map[string]any)[key]
		}
		if _, ok := at.(map[string]any)[keys[len(keys)-1]]; !ok {
			t.Errorf("got no %s in %.300s", path, body)
		}
		delete(at.(map[string]any), keys[len(keys)-1])
	}
	return v
}

// escape is one escape of a JSON string. Of a control character inside jsonb the
// relay passes on Postgres's digits, \u001f, where Sequin writes \u001F.
var escape = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|.)`)

// spelled takes a JSON text apart down to strings, numbers and words, and leaves
// those as they are written, but for the case of digits in escapes.
func spelled(t *testing.T, text []byte) any {
	t.Helper()
	switch text[0] {
	case '{':
		object := map[string]any{}
		for key, value := range read[map[string]json.RawMessage](t, text) {
			object[key] = spelled(t, value)
		}
		return object
	case '[':
		var list []any
		for _, value := range read[[]json.RawMessage](t, text) {
			list = append(list, spelled(t, value))
		}
		return list
	default:
		return string(escape.ReplaceAllFunc(text, bytes.ToLower))
	}
}

// lengthOf is how long a spelled text is without spaces, and with each key once.
func lengthOf(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			n += len(`"":`) + len(key) + lengthOf(value)
		}
		return n + len("{}") + max(len(v)-1, 0)
	case []any:
		for _, value := range v {
			n += lengthOf(value)
		}
		return n + len("[]") + max(len(v)-1, 0)
	default:
		return len(v.(string))
	}
}

func checkRules(t *testing.T, m *nats.Msg, body map[string]any) {
	t.Helper()
	md := meta(body)
	plain := fmt.Sprintf("%v:%v", md["commit_lsn"], md["commit_idx"])
	if got, want := md["idempotency_key"], base64.StdEncoding.EncodeToString([]byte(plain)); got != want {
		t.Errorf("got idempotency_key %v, want %v", got, want)
	}
	at, err := time.Parse("2006-01-02T15:04:05.000000Z", md["commit_timestamp"].(string))
	if err != nil || time.Since(at).Abs() > time.Hour {
		t.Errorf("got commit_timestamp %v: %v", md["commit_timestamp"], err)
	}
	checkConsumer(t, body, "outbox-nats")
	if got, want := m.Header.Get(headerMsgID), body["record"].(map[string]any)["event_id"]; got != want {
		t.Errorf("got %s %v, want %v", headerMsgID, got, want)
	}
	if got, want := m.Header.Get(headerStream), transport.StreamOf(m.Subject); got != want {
		t.Errorf("got %s %v, want %v", headerStream, got, want)
	}
}

// headerLines leaves out the one header that Sequin has not.
func headerLines(h nats.Header) []string {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			if name != headerStream {
				lines = append(lines, name+": "+v)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func wantLines(block string) []string {
	lines := strings.Split(strings.TrimSuffix(block, "\r\n\r\n"), "\r\n")[1:]
	slices.Sort(lines)
	return lines
}

func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readCaptures(t *testing.T) map[string][]captured {
	t.Helper()
	all := map[string][]captured{}
	for line := range strings.Lines(file(t, "testdata/outbox/nats.jsonl")) {
		c := read[captured](t, []byte(line))
		all[c.Step] = append(all[c.Step], c)
	}
	return all
}
