package relay

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/sequin"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status, data string
		want         verdict
		code         string
	}{
		"stored":                               {"", `{"stream":"EVENTS","seq":7}`, stored, ""},
		"stored, with a domain":                {"", `{"stream":"EVENTS","domain":"hub","seq":7}`, stored, ""},
		"stored, in another order":             {"", `{"seq":7, "stream":"EVENTS"}`, stored, ""},
		"stored before":                        {"", `{"stream":"EVENTS","seq":7,"duplicate":true}`, duplicate, ""},
		"stored before, as a server spells it": {"", `{"stream":"EVENTS","seq":7,"duplicate": true}`, duplicate, ""},
		"stored before, in another order":      {"", `{"duplicate":true,"stream":"EVENTS","seq":7}`, duplicate, ""},
		"C30 nobody listens":                   {"503", ``, notStored, noStream},
		"another status":                       {"409", ``, notStored, brokerError},
		"C31 larger than the stream takes":     {"", `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"EVENTS","seq":0}`, neverThere, tooLarge},
		"another stream":                       {"", `{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"OTHER","seq":0}`, notStored, wrongStream},
		"full of bytes":                        {"", `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"EVENTS","seq":0}`, notStored, streamFull},
		"full of messages":                     {"", `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"EVENTS","seq":0}`, notStored, streamFull},
		"a disk that fails":                    {"", `{"error":{"code":503,"err_code":10077,"description":"no space left on device"},"stream":"EVENTS","seq":0}`, notStored, brokerError},
		"no room on the server":                {"", `{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}`, notStored, noResources},
		"an error that is put last":            {"", `{"stream":"EVENTS","seq":0,"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`, notStored, streamFull},
		"an error that nobody knows":           {"", `{"error":{"err_code":1}}`, notStored, brokerError},
		"nothing":                              {"", ``, notStored, unreadable},
		"something else":                       {"", `OK`, notStored, unreadable},
		"an object that says nothing":          {"", `{}`, notStored, unreadable},
		"an answer that a stream did not sign": {"", `{"seq":7}`, notStored, unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := readAnswer(c.status, []byte(c.data))
			if got.verdict != c.want || got.code != c.code {
				t.Errorf("got %+v, want verdict %d and code %q", got, c.want, c.code)
			}
		})
	}
}

// FuzzAnswer: nothing but a stream's own word counts as stored.
func FuzzAnswer(f *testing.F) {
	f.Add("", []byte(`{"stream":"EVENTS","seq":7}`))
	f.Add("503", []byte(``))
	f.Add("", []byte(`{"stream":"EVENTS","seq":0,"error":{}}`))
	f.Fuzz(func(t *testing.T, status string, data []byte) {
		a := readAnswer(status, data)
		if good := a.verdict == stored || a.verdict == duplicate; good && (status != "" || !strings.Contains(strings.ToLower(string(data)), `stream`)) || good == (a.code != "") {
			t.Errorf("got %+v for %q %q", a, status, data)
		}
	})
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	pg := func(code string) error { return fmt.Errorf("start: %w", &pgconn.PgError{Code: code}) }
	for name, c := range map[string]struct {
		err  error
		want kind
	}{
		"the slot is held by another":    {pg("55006"), slotActive},
		"the slot is not there":          {pg("42704"), slotMissing},
		"the server cannot stream":       {pg("55000"), slotUnusable},
		"the password is wrong":          {pg("28P01"), accessRefused},
		"the slot is not there, we look": {&fault.Error{Code: "slot_missing"}, slotMissing},
		"the slot is lost, we look":      {fmt.Errorf("x: %w", &fault.Error{Code: "slot_lost"}), slotLost},
		"the publication is another":     {&fault.Error{Code: "publication_unfit"}, publicationUnfit},
		"the server shuts down":          {pg("57P01"), interrupted},
		"anything":                       {errors.New("reset"), interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := kindOf(c.err); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTroubleWaitsLonger(t *testing.T) {
	t.Parallel()
	var now trouble
	var waits []time.Duration
	for range 12 {
		now = now.after(errors.New("reset"), time.Millisecond)
		waits = append(waits, now.wait(0.5))
	}
	for i, want := range []int64{100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000} {
		if got := waits[i].Milliseconds(); got != want {
			t.Errorf("try %d: got %d ms, want %d", i+1, got, want)
		}
	}
	if now = now.after(errors.New("reset"), time.Minute); now.times != 1 {
		t.Errorf("got %d tries after a session that lasted, want 1", now.times)
	}
	for range 3 {
		now = now.after(&pgconn.PgError{Code: "55006"}, 0)
		if got := now.wait(0.5); got != time.Second {
			t.Errorf("got %v while another holds the slot, want 1s", got)
		}
	}
	if now.times != 3 {
		t.Errorf("got %d tries, want 3: it is told once", now.times)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to string
		want     string
	}{
		"the shipped file":                 {"", "", ""},
		"a code function that we have not": {"outbox-subject", "my-subject", `none named "my-subject"`},
		"a paused sink":                    {"message_grouping: false", "message_grouping: false\n    status: paused", "status: paused is not supported yet"},
		"a disabled sink":                  {"message_grouping: false", "message_grouping: false\n    status: disabled", "sinks: the file has 0 that are not disabled"},
		"updates":                          {"actions: [insert]", "actions: [insert, update]", ""},
		"no routing":                       {"routing: outbox-subject", "routing: none", ""},
		"C37 grouping":                     {"message_grouping: false", "message_grouping: true", ""},
		"a filter":                         {"routing: outbox-subject", "routing: outbox-subject\n    filter: only", "filter: a filter is not supported yet"},
		"a backfill at once":               {"message_grouping: false", "message_grouping: false\n    initial_backfill: true", "initial_backfill: a backfill by itself"},
		"a destination of another kind":    {"type: nats\n", "type: kafka\n", "destination.type: kafka is not supported yet"},
		"microseconds":                     {"message_grouping: false", "message_grouping: false\n    timestamp_format: unix_microsecond", "timestamp_format: unix_microsecond is not supported yet"},
		"giving up":                        {"message_grouping: false", "message_grouping: false\n    max_retry_count: 3", "max_retry_count: giving up on NATS is not supported yet"},
		"a function for another sink":      {"sink_type: nats", "sink_type: webhook", `function "outbox-subject": sink_type: must be nats`},
		"a slot to be made":                {"name: runtime_outbox_slot", "name: runtime_outbox_slot\n      create_if_not_exists: true", "create_if_not_exists is not supported yet"},
		"C19 a transform":                  {"routing: outbox-subject", "routing: outbox-subject\n    transform: pick", ""},
		"C19 a transform that is code":     {"routing: outbox-subject", "routing: outbox-subject\n    transform: code", "runs no code of functions"},
		"C19 a path from nowhere":          {"routing: outbox-subject", "routing: outbox-subject\n    transform: lost", `function "lost": path: must begin with`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(sequin.NATS), "functions:\n", "functions:\n  - {name: pick, type: path, path: record.payload}\n  - {name: lost, type: path, path: payload}\n"+
				"  - {name: code, type: transform, code: x}\n  - {name: only, type: filter, code: x}\n", 1)
			f, err := manifest.Read([]byte(strings.ReplaceAll(text, c.from, c.to)), nil)
			if c.from == "" {
				f, err = manifest.Read(sequin.NATS, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = planOf(f)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestIDsAreStable(t *testing.T) {
	t.Parallel()
	if got, want := idOf("sink", "outbox-nats"), idOf("sink", "outbox-nats"); got != want || len(got) != 36 || got[14] != '5' {
		t.Errorf("got %s and %s, want one UUID of version 5", got, want)
	}
	if idOf("sink", "a") == idOf("database", "a") || idOf("sink", "a") == idOf("sink", "b") {
		t.Error("got one id for two names")
	}
}
