package relay

import (
	"bufio"
	"encoding/json"
	"maps"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

// capturedRequest is one request that Sequin made: testdata/README.md.
type capturedRequest struct {
	Step string `json:"step"`
	Head string `json:"head"`
	Body struct {
		Data []json.RawMessage `json:"data"`
	} `json:"body"`
}

func readRequests(t *testing.T) map[string][]capturedRequest {
	t.Helper()
	all := map[string][]capturedRequest{}
	for line := range strings.Lines(file(t, "testdata/outbox/http.jsonl")) {
		c := read[capturedRequest](t, []byte(line))
		all[c.Step] = append(all[c.Step], c)
	}
	return all
}

// TestBridgeCaptures is C1 to C13 over HTTP: the rows that Sequin was given, step
// by step, compared with the requests it made.
func TestBridgeCaptures(t *testing.T) {
	t.Parallel()
	r, h := hookRigOn(t, testenv.Cluster(t, testenv.Raw()))
	for _, sql := range statements(file(t, "testdata/outbox/schema.sql")) {
		r.pg.Exec(sql)
	}
	run := r.post()
	want := readRequests(t)
	conn := r.pg.Conn(testenv.Superuser)
	got := map[string][]asked{}
	for _, s := range readSteps(t) {
		if strings.HasPrefix(s.name, backfillStep) {
			continue
		}
		s.run(t, conn)
		r.confirmed() // everything of it was answered
		h.mu.Lock()
		got[s.name], h.all = h.all, nil
		h.mu.Unlock()
	}
	run.stop()
	if n := elementsOf(t, got[longStep]); len(n) != longRows {
		t.Errorf("got %d elements of the long step, want %d", len(n), longRows)
	}
	for step, requests := range want {
		if strings.HasPrefix(step, backfillStep) {
			continue // TestC17Backfill
		}
		var elements []json.RawMessage
		for _, w := range requests {
			elements = append(elements, w.Body.Data...)
		}
		compareElements(t, step, elementsOf(t, got[step]), elements)
	}
	for step, requests := range got {
		if _, known := want[step]; !known && step != longStep && len(requests) > 0 {
			t.Errorf("step %q: got %d requests, Sequin made none", step, len(requests))
		}
		for _, a := range requests {
			compareHead(t, a, want["single"][0].Head)
			if n := len(a.elements(t)); n < 1 || n > 50 {
				t.Errorf("step %q: got %d elements in a request, want 1 to 50", step, n)
			}
		}
	}
}

func elementsOf(t *testing.T, requests []asked) (all []json.RawMessage) {
	t.Helper()
	for _, a := range requests {
		all = append(all, a.elements(t)...)
	}
	return all
}

// compareElements pairs messages by event and number in their transaction.
func compareElements(t *testing.T, step string, got, want []json.RawMessage) {
	t.Helper()
	byKey := map[string]json.RawMessage{}
	for _, e := range got {
		body := read[map[string]any](t, e)
		checkConsumer(t, body, "outbox-bridge")
		byKey[key(body)] = e
	}
	if len(byKey) != len(got) || len(got) != len(want) {
		t.Errorf("step %q: got %d elements, %d of them different, want %d", step, len(got), len(byKey), len(want))
	}
	for _, w := range want {
		w = longAgain(w)
		id := key(read[map[string]any](t, w))
		e, ok := byKey[id]
		if !ok {
			t.Errorf("step %q: no element %s", step, id)
			continue
		}
		if got, want := compared(t, e), compared(t, w); !reflect.DeepEqual(got, want) {
			t.Errorf("step %q:\n got %v\nwant %v", step, got, want)
		}
	}
}

// compareHead leaves out what differs from set-up to set-up, and who we are.
func compareHead(t *testing.T, a asked, want string) {
	t.Helper()
	in := textproto.NewReader(bufio.NewReader(strings.NewReader(want)))
	line, err := in.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	head, err := in.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header(head)
	got := a.header.Clone()
	for _, h := range []http.Header{got, header} {
		for _, name := range []string{"Content-Length", "Host", "User-Agent"} {
			h.Del(name)
		}
	}
	if a.line+" HTTP/1.1" != line || !reflect.DeepEqual(got, header) {
		t.Errorf("got %q %v, want %q %v; headers %v", a.line, got, line, header, slices.Sorted(maps.Keys(a.header)))
	}
}
