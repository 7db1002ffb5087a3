package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

// shortened is how the capture keeps the row of 200 KB.
const shortened = "0123456789 twenty thousand times"

// captured is one request of Sequin's webhook sink: testdata/README.md.
type captured struct {
	Step   string          `json:"step"`
	Head   string          `json:"head"`
	SHA256 string          `json:"sha256"`
	Body   json.RawMessage `json:"body"`
}

// other is a message of its NATS sink, for the same rows.
type other struct {
	Subject string          `json:"subject"`
	Header  string          `json:"header"`
	Body    json.RawMessage `json:"body"`
}

func lined[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var one T
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// key pairs what the two sinks sent for one row: a row that was moved to another
// day was sent twice.
func key(t *testing.T, body []byte) string {
	t.Helper()
	var m struct {
		Action string
		Record struct {
			EventID string `json:"event_id"`
		}
		Metadata struct {
			LSN json.Number `json:"commit_lsn"`
			Idx json.Number `json:"commit_idx"`
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{m.Record.EventID, m.Metadata.LSN.String(), m.Metadata.Idx.String(), m.Action}, " ")
}

// What Sequin's webhook sink sent is published as its NATS sink published the
// same rows: subject, headers, and the element itself as the body.
func TestCaptures(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wire := r.overhear(1000)
	requests := lined[captured](t, "testdata/http.jsonl")
	elements := map[string][]byte{}
	for _, c := range requests {
		body := bytes.ReplaceAll(c.Body, []byte(shortened), bytes.Repeat([]byte("0123456789"), 20000))
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != c.SHA256 {
			t.Fatalf("step %q: the capture is not what was captured", c.Step)
		}
		line, _, _ := strings.Cut(c.Head, "\r\n")
		if line != "POST "+Route+" HTTP/1.1" || !strings.Contains(c.Head, "\r\ncontent-type: application/json\r\n") {
			t.Errorf("step %q: got %q, want what this route takes", c.Step, line)
		}
		var batch struct{ Data []json.RawMessage }
		if err := json.Unmarshal(body, &batch); err != nil {
			t.Fatal(err)
		}
		got := r.post(string(body))
		if got.status != 200 || got.told.Rows != len(batch.Data) || got.told.Stored+got.told.Duplicates != len(batch.Data) {
			t.Fatalf("step %q: got %d %s %+v, want all %d rows published", c.Step, got.status, got.problem.Title, got.told, len(batch.Data))
		}
		for _, e := range batch.Data {
			elements[key(t, e)] = e
		}
	}
	published := map[string]*nats.Msg{}
	for range elements {
		select {
		case m := <-wire:
			published[key(t, m.Data)] = m
		case <-time.After(patience):
			t.Fatalf("got %d messages, want %d", len(published), len(elements))
		}
	}
	for k, e := range elements {
		if m := published[k]; m == nil || !bytes.Equal(m.Data, e) {
			t.Errorf("%s: not published, or not byte for byte", k)
		}
	}
	if got := r.aside(); len(got) > 0 {
		t.Errorf("got %v set aside, want nothing", got)
	}
	compared := 0
	for _, o := range lined[other](t, "../relay/testdata/outbox/nats.jsonl") {
		m := published[key(t, o.Body)]
		if m == nil {
			continue // one of five thousand, whose requests were not kept
		}
		compared++
		if m.Subject != o.Subject {
			t.Errorf("got subject %q, Sequin's %q", m.Subject, o.Subject)
		}
		if got, want := header(m), strings.Split(strings.TrimSuffix(o.Header, "\r\n\r\n"), "\r\n")[1:]; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: got header %q, Sequin's %q", m.Subject, got, want)
		}
		if got, want := withoutConsumer(t, m.Data), withoutConsumer(t, bytes.ReplaceAll(o.Body, []byte(shortened), bytes.Repeat([]byte("0123456789"), 20000))); got != want {
			t.Errorf("%s:\n got %.400s\nwant %.400s", m.Subject, got, want)
		}
	}
	if compared < 60 {
		t.Errorf("compared only %d rows with the other sink", compared)
	}
}

// header leaves out the one that Sequin has not, and holds it to its rule.
func header(m *nats.Msg) (all []string) {
	for name, values := range m.Header {
		if name == nats.ExpectedStreamHdr && values[0] == transport.StreamOf(m.Subject) {
			continue
		}
		all = append(all, name+": "+strings.Join(values, ","))
	}
	return slices.Sorted(slices.Values(all))
}

// withoutConsumer is a body by value, numbers as they are written, without what
// names the sink.
func withoutConsumer(t *testing.T, body []byte) string {
	t.Helper()
	var v map[string]any
	in := json.NewDecoder(bytes.NewReader(body))
	in.UseNumber()
	if err := in.Decode(&v); err != nil {
		t.Fatal(err)
	}
	delete(v["metadata"].(map[string]any), "consumer")
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
