package preflight

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/sequin"
)

func captured(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// healths are what Sequin said of its sinks' health, by sink.
func healths(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	all := map[string]json.RawMessage{}
	for line := range bytes.Lines(captured(t, "health-of-sinks.jsonl")) {
		var one struct {
			Sink   string
			Health json.RawMessage
		}
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		all[one.Sink] = one.Health
	}
	return all
}

// said is what a server answers: bodies by path; what is not there is 404.
type said map[string]string

const apiToken = "api-token"

// server answers as Sequin is documented to.
func server(t *testing.T, answers said) *Server {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		switch {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s: nothing may be changed", r.Method, r.URL.Path)
		case strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Authorization") != "Bearer "+apiToken:
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"summary":"Not found"}`)
		default:
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(h.Close)
	s, err := NewServer(h.URL, apiToken)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sinkWith is the answer about a sink: its keys, and its health.
func sinkWith(name string, health json.RawMessage) string {
	return fmt.Sprintf(`{"name":%q,"status":"active","health":%s}`, name, health)
}

// What Sequin exported of a file is that file: masked secrets, defaults, other
// names of kinds and all.
func TestNoDriftInACapture(t *testing.T) {
	t.Parallel()
	f, _, err := ReadFile(captured(t, "applied.yaml"), nil, Options{BridgeBatch: 50})
	if err != nil {
		t.Fatal(err)
	}
	answers := said{"/health": string(captured(t, "health.json")), "/api/config/export": string(captured(t, "export.json"))}
	for _, s := range f.parsed.Sinks {
		answers["/api/sinks/"+s.Name] = sinkWith(s.Name, healths(t)["bench"])
	}
	found, facts, err := Running(t.Context(), server(t, answers), f)
	if err != nil || len(found) > 0 {
		t.Errorf("got %+v, %v", found, err)
	}
	if !strings.Contains(strings.Join(facts, " "), "46ce4e10") {
		t.Errorf("got %v, want its revision", facts)
	}
}

// Each change of the file since, or of what runs, is found.
func TestDrift(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ from, to, want string }{
		"nothing":                       {"", "", ""},
		"a default that is written out": {"name: nats-plain\n", "name: nats-plain\n  batch_size: 1\n  message_grouping: true\n  status: active\n", ""},
		"as Sequin takes strings":       {"port: 4333", `port: "4333"`, ""},
		"another server":                {"port: 4333", "port: 4334", "sequin: sinks[nats-plain].destination.port"},
		"another size":                  {"batch_size: 10", "batch_size: 20", "sequin: sinks[hook-batch].batch_size"},
		"other actions":                 {"- actions:\n  - insert", "- actions:\n  - insert\n  - update", "sequin: sinks[hook-batch].actions"},
		"grouping":                      {"name: nats-plain\n", "name: nats-plain\n  message_grouping: false\n", "sequin: sinks[nats-plain].message_grouping"},
		"another path":                  {"http_endpoint_path: /plain", "http_endpoint_path: /plainer", "sequin: sinks[hook-plain].destination.http_endpoint_path"},
		"another table":                 {"- public.types_demo", "- public.outbox", "sequin: sinks[nats-types].source.include_tables"},
		"a sink more":                   {"name: nats-plain\n", "name: nats-other\n", "sequin: sinks[nats-other] sequin: sinks[nats-plain]"},
		"other code":                    {`record["aggregate_type"] == "order"`, `record["aggregate_type"] == "user"`, "sequin: functions[only-orders].code"},
		"another slot":                  {"name: sequin_slot", "name: other_slot", "sequin: databases[appdb].slot"},
		"another host":                  {"hostname: 127.0.0.1", "hostname: 127.0.0.2", "sequin: databases[appdb].hostname"},
		"another address":               {"url: http://127.0.0.1:9099/base?x=1", "url: http://127.0.0.1:9099/base?x=2", "sequin: http_endpoints[hook].url"},
		"another header":                {"key: X-Plain", "key: X-Other", "sequin: http_endpoints[hook].headers"},
		"a secret that is masked":       {`value: "Bearer tok-\"q: {x}"`, `value: "Bearer other"`, ""},
	} {
		text := string(captured(t, "applied.yaml"))
		if !strings.Contains(text, tc.from) {
			t.Fatalf("%s: %q is not in the file", name, tc.from)
		}
		f, _, err := ReadFile([]byte(strings.Replace(text, tc.from, tc.to, 1)), nil, Options{BridgeBatch: 50})
		if err != nil {
			t.Fatal(err)
		}
		answers := said{"/health": string(captured(t, "health.json")), "/api/config/export": string(captured(t, "export.json"))}
		for _, s := range f.parsed.Sinks {
			answers["/api/sinks/"+s.Name] = sinkWith(s.Name, healths(t)["bench"])
		}
		found, _, err := Running(t.Context(), server(t, answers), f)
		if got := strings.Join(wheres(found), " "); err != nil || got != tc.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
		for _, f := range found {
			if strings.Contains(f.What, "x=") || strings.Contains(f.What, "tok-") {
				t.Errorf("%s: %+v tells what may be a secret", name, f)
			}
		}
	}
}

// ours makes an export, in the form of the captured one, of a shipped file.
func ours(t *testing.T, text []byte) string {
	t.Helper()
	f := shipped(t, text)
	d, s := f.raw.list("databases")[0], f.raw.list("sinks")[0]
	var b strings.Builder
	fmt.Fprintf(&b, "---\ndatabases:\n  - name: runtime\n    port: %s\n    slot:\n      name: runtime_outbox_slot\n    ssl: true\n    ipv6: false\n    hostname: %s\n    password:\n      h*****2\n    pool_size: 5\n    username: %s\n    database: %s\n    use_local_tunnel: false\n    publication:\n      name: runtime_outbox_pub\n",
		d.text("port"), d.text("hostname"), d.text("username"), d.text("database"))
	destination, routing := "      port: 4222\n      type: nats\n      host: localhost\n      tls: false\n", "none"
	if f.Shape == Bridge {
		destination = "      type: webhook\n      batch: true\n      http_endpoint_path: /sequin/outbox\n      http_endpoint: bridge\n"
		b.WriteString("http_endpoints:\n  - name: bridge\n    headers: {}\n    url: http://localhost:8080\n    encrypted_headers:\n      Authorization:\n        Bea**************1\n")
	} else {
		routing = "outbox-subject"
		b.WriteString("functions:\n  - code: |-\n      " + strings.ReplaceAll(shippedCode(), "\n", "\n      ") + "\n    name: outbox-subject\n    type: routing\n    description: Subject and headers of an outbox row\n    sink_type: nats\n")
	}
	size := s.text("batch_size")
	if size == "" {
		size = "1"
	}
	fmt.Fprintf(&b, "sinks:\n  - name: %s\n    status: active\n    filter: none\n    tables: []\n    source:\n      include_schemas:\n      exclude_schemas:\n      exclude_tables:\n      include_tables:\n        - event_runtime.outbox\n    transform: none\n    destination:\n%s    actions:\n      - insert\n    batch_size: %s\n    database: runtime\n    annotations: {}\n    enrichment: none\n    timestamp_format: iso8601\n    message_grouping: false\n    max_retry_count:\n    load_shedding_policy: pause_on_full\n    active_backfills: []\n    routing: %s\n",
		s.text("name"), destination, size, routing)
	return b.String()
}

func exportOf(yaml string) string {
	text, _ := json.Marshal(map[string]string{"yaml": yaml}) // a map of strings never fails
	return string(text)
}

// The shipped files, running as they are, give no finding; what somebody changed
// in the console does, and so does each check that fails.
func TestRunning(t *testing.T) {
	t.Parallel()
	health := healths(t)
	other := "  - name: hook-x\n    status: active\n    database: runtime\n    destination:\n      type: nats\n      host: x\n      port: 4222\n"
	for name, tc := range map[string]struct {
		file     []byte
		from, to string // in the export
		health   json.RawMessage
		want     string
	}{
		"the NATS sink":                  {sequin.NATS, "", "", health["bench"], ""},
		"the bridge":                     {sequin.Bridge, "", "", health["bench"], ""},
		"grouped in the console":         {sequin.NATS, "message_grouping: false", "message_grouping: true", health["bench"], "sequin: sinks[outbox-nats].message_grouping"},
		"rows are thrown away":           {sequin.Bridge, "max_retry_count:\n", "max_retry_count: 3\n", health["bench"], "sequin: sinks[outbox-bridge].max_retry_count"},
		"paused":                         {sequin.Bridge, "status: active", "status: paused", health["bench"], "sequin: sinks[outbox-bridge].status"},
		"code changed":                   {sequin.NATS, `to_string(record["event_id"] || metadata.idempotency_key)`, `metadata.idempotency_key`, health["bench"], "sequin: functions[outbox-subject].code"},
		"a second sink on the slot":      {sequin.NATS, "sinks:\n", "sinks:\n" + other, health["bench"], "sequin: sinks[hook-x]"},
		"one that is disabled":           {sequin.NATS, "sinks:\n", "sinks:\n" + strings.Replace(other, "active", "disabled", 1), health["bench"], ""},
		"its endpoint fails":             {sequin.Bridge, "", "", health["ed-gone"], "sequin: sinks[outbox-bridge] health"},
		"its function fails":             {sequin.NATS, "", "", health["ed-route"], "sequin: sinks[outbox-nats] health"},
		"a status that nobody has shown": {sequin.NATS, "", "", json.RawMessage(`{"status":"paused"}`), "sequin: sinks[outbox-nats] health"},
		"no word about health":           {sequin.NATS, "", "", json.RawMessage(`null`), ""},
	} {
		f := shipped(t, tc.file)
		export := ours(t, tc.file)
		if !strings.Contains(export, tc.from) {
			t.Fatalf("%s: %q is not in the export", name, tc.from)
		}
		sink := f.parsed.Sinks[0].Name
		s := server(t, said{"/health": string(captured(t, "health.json")), "/api/config/export": exportOf(strings.Replace(export, tc.from, tc.to, 1)), "/api/sinks/" + sink: sinkWith(sink, tc.health)})
		found, facts, err := Running(t.Context(), s, f)
		if got := strings.Join(wheres(found), " "); err != nil || got != tc.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
		whole(t, found)
		if quiet := slices.ContainsFunc(facts, func(s string) bool { return strings.Contains(s, "nothing about health") }); quiet != (string(tc.health) == "null") {
			t.Errorf("%s: got %v", name, facts)
		}
	}
}

// What does not answer, or not as it is documented, is an error: nothing is known.
func TestAServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	f := shipped(t, sequin.NATS)
	good := said{"/health": string(captured(t, "health.json")), "/api/config/export": exportOf(ours(t, sequin.NATS)), "/api/sinks/outbox-nats": sinkWith("outbox-nats", healths(t)["bench"])}
	for name, tc := range map[string]struct {
		path, body string
		token      string
		want       string
	}{
		"an unknown token":       {"", "", "another", "not known to Sequin"},
		"no export":              {"/api/config/export", "-", apiToken, "404 for /api/config/export"},
		"no sink":                {"/api/sinks/outbox-nats", "-", apiToken, "404 for /api/sinks/outbox-nats"},
		"a page of somebody":     {"/api/config/export", "<html>", apiToken, "not what it is documented"},
		"an export that is none": {"/api/config/export", `{"yaml":"- 1"}`, apiToken, "cannot be read"},
		"another health":         {"/health", "ok", apiToken, "not what it is documented"},
	} {
		answers := said{}
		for path, body := range good {
			if answers[path] = body; path == tc.path {
				answers[path] = tc.body
			}
			if answers[path] == "-" {
				delete(answers, path)
			}
		}
		s := server(t, answers)
		s.Token = tc.token
		if _, _, err := Running(t.Context(), s, f); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), tc.token) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	gone := server(t, good)
	gone.URL = "http://127.0.0.1:1"
	if _, _, err := Running(t.Context(), gone, f); err == nil {
		t.Error("got no error of a server that is away")
	}
	ill := server(t, said{"/health": `{"ok":false}`, "/api/config/export": good["/api/config/export"], "/api/sinks/outbox-nats": good["/api/sinks/outbox-nats"]})
	if found, _, err := Running(t.Context(), ill, f); err != nil || !slices.Equal(wheres(found), []string{"sequin: /health"}) {
		t.Errorf("got %v, %v of one that is ill", found, err)
	}
	for _, address := range []string{"sequin:7376", "ftp://sequin", "http://", "http://u:p@sequin"} {
		if _, err := NewServer(address, ""); err == nil {
			t.Errorf("%s: taken for an address", address)
		}
	}
}
