package preflight

import (
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/sequin"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const secret = "bridge-secret-0123456789-0123456789"

var environ = []string{"BRIDGE_TOKEN=" + secret, "OUTBOX_PG_PASSWORD=hunter2"}

// wheres are the places that findings name, each once.
func wheres(found []Finding) (all []string) {
	for _, f := range found {
		all = append(all, f.Where)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// whole fails a test about findings that leave a question open, or tell a secret.
func whole(t *testing.T, found []Finding) {
	t.Helper()
	for _, f := range found {
		if f.Where == "" || f.What == "" || f.Why == "" || f.Do == "" {
			t.Errorf("%+v says too little", f)
		}
		if text := f.What + f.Why + f.Do; strings.Contains(text, secret) || strings.Contains(text, "hunter2") {
			t.Errorf("%+v tells a secret", f)
		}
	}
}

func TestTheShippedFilesAreFine(t *testing.T) {
	t.Parallel()
	for shape, text := range map[Shape][]byte{NATS: sequin.NATS, Bridge: sequin.Bridge} {
		f, found, err := ReadFile(text, environ, Options{BridgeBatch: 50})
		if err != nil || len(found) > 0 || f.Shape != shape {
			t.Errorf("%s: got %+v, %v", shape, found, err)
		}
	}
	if !strings.Contains(shippedCode(), "def route(") {
		t.Error("the shipped function is not found")
	}
}

// Each change of a setting that matters is found where it is made.
func TestEveryChangeIsFound(t *testing.T) {
	t.Parallel()
	const natsSink, bridgeSink = "    routing: outbox-subject\n", "    batch_size: 50\n"
	for name, tc := range map[string]struct {
		shape      Shape
		from, to   string
		want       string // places, separated by spaces
		unreadable bool
	}{
		"an unknown key of a sink":               {NATS, natsSink, natsSink + "    bogus: 1\n", "sinks[0].bogus", false},
		"an unknown key of an endpoint":          {Bridge, "  - name: bridge\n", "  - name: bridge\n    bogus: 1\n", "http_endpoints[0].bogus", false},
		"an unknown key of a database":           {NATS, "    pool_size: 5\n", "    pool_size: 5\n    bogus: 1\n", "", false},
		"no batch, and a size":                   {Bridge, "batch: true", "batch: false", "sinks[0].batch_size sinks[0].destination.batch", false},
		"group columns without grouping":         {NATS, natsSink, natsSink + "    tables: [{name: event_runtime.outbox, group_column_names: [tenant_id]}]\n", "sinks[0].tables[0].group_column_names", false},
		"a table without group columns":          {NATS, natsSink, natsSink + "    tables: [{name: event_runtime.outbox}]\n", "", false},
		"tables in and out":                      {NATS, "include_tables: [event_runtime.outbox]", "include_tables: [event_runtime.outbox]\n      exclude_tables: [public.x]", "sinks[0].source.include_tables", false},
		"a required variable that is not set":    {NATS, `"${NATS_HOST:-localhost}"`, `"${NO_SUCH_HOST}"`, "sinks[0].destination.host", false},
		"a size by a variable":                   {Bridge, "batch_size: 50", `batch_size: "${N:-50}"`, "sinks[0].batch_size", false},
		"ssl by a variable":                      {NATS, "ssl: true", `ssl: "${SSL:-false}"`, "databases[0].ssl", false},
		"a function that is not there":           {NATS, natsSink, "    routing: another\n", "sinks[0].routing", false},
		"grouping":                               {NATS, "message_grouping: false", "message_grouping: true", "sinks[0].message_grouping", false},
		"grouping, left out":                     {Bridge, "    message_grouping: false\n", "", "sinks[0].message_grouping", false},
		"another action":                         {NATS, "actions: [insert]", "actions: [insert, update]", "sinks[0].actions", false},
		"actions left out":                       {Bridge, "    actions: [insert]\n", "", "sinks[0].actions", false},
		"another table":                          {NATS, "include_tables: [event_runtime.outbox]", "include_tables: [event_runtime.outbox, public.x]", "sinks[0].source", false},
		"every table":                            {Bridge, "    source:\n      include_tables: [event_runtime.outbox]\n", "", "sinks[0].source", false},
		"rows are thrown away":                   {NATS, natsSink, natsSink + "    max_retry_count: 3\n", "sinks[0].max_retry_count", false},
		"and a number of times that is none":     {Bridge, bridgeSink, bridgeSink + "    max_retry_count: 0\n", "sinks[0].max_retry_count", false},
		"a transform":                            {NATS, natsSink, natsSink + "    transform: p\n", "sinks[0].transform", false},
		"a filter":                               {Bridge, bridgeSink, bridgeSink + "    filter: f\n", "sinks[0].filter", false},
		"times as numbers":                       {NATS, natsSink, natsSink + "    timestamp_format: unix_microsecond\n", "sinks[0].timestamp_format", false},
		"shedding":                               {NATS, natsSink, natsSink + "    load_shedding_policy: discard_on_full\n", "sinks[0].load_shedding_policy", false},
		"paused":                                 {NATS, natsSink, natsSink + "    status: paused\n", "sinks[0].status", false},
		"disabled":                               {NATS, natsSink, natsSink + "    status: disabled\n", "sinks", false},
		"no routing":                             {NATS, natsSink, "", "sinks[0].routing", false},
		"another id":                             {NATS, `"Nats-Msg-Id" => to_string(record["event_id"] || metadata.idempotency_key)`, `"Nats-Msg-Id" => metadata.idempotency_key`, "functions[0].code", false},
		"another header name":                    {NATS, `Map.put(headers, "traceparent", trace)`, `Map.put(headers, "Traceparent", trace)`, "functions[0].code", false},
		"the same code, folded by an editor":     {NATS, "%{subject: subject, headers: headers}\n      end\n", "%{subject: subject, headers: headers}\n      end\n\n", "", false},
		"another slot":                           {NATS, "name: runtime_outbox_slot", "name: sequin_slot", "databases[0].slot.name", false},
		"another publication":                    {Bridge, "name: runtime_outbox_pub", "name: sequin_pub", "databases[0].publication.name", false},
		"a slot that Sequin makes":               {NATS, "name: runtime_outbox_slot", "name: runtime_outbox_slot\n      create_if_not_exists: true", "databases[0].slot.create_if_not_exists", false},
		"a publication that Sequin makes":        {NATS, "name: runtime_outbox_pub", "name: runtime_outbox_pub\n      create_if_not_exists: true", "databases[0].publication.create_if_not_exists", false},
		"another path":                           {Bridge, "http_endpoint_path: /sequin/outbox", "http_endpoint_path: /outbox", "sinks[0].destination.http_endpoint_path", false},
		"more rows than the bridge has room for": {Bridge, "batch_size: 50", "batch_size: 51", "sinks[0].batch_size", false},
		"the token in the clear":                 {Bridge, "encrypted_headers:", "headers:", "http_endpoints[0].encrypted_headers http_endpoints[0].headers", false},
		"another spelling":                       {Bridge, "key: Authorization", "key: authorization", "http_endpoints[0].encrypted_headers", false},
		"no token":                               {Bridge, "${BRIDGE_TOKEN}", "${NO_SUCH_TOKEN}", "http_endpoints[0].encrypted_headers", false},
		"no bearer":                              {Bridge, "Bearer ${BRIDGE_TOKEN}", "${BRIDGE_TOKEN}", "http_endpoints[0].encrypted_headers", false},
		"a short token":                          {Bridge, "${BRIDGE_TOKEN}", "short", "http_endpoints[0].encrypted_headers", false},
		"compressed":                             {Bridge, "    encrypted_headers:\n", "    headers: {content-encoding: gzip}\n    encrypted_headers:\n", "http_endpoints[0].headers", false},
		"a password in the address":              {Bridge, "http://localhost:8080", "http://u:hunter2@localhost:8080", "http_endpoints[0].url", false},
		"a query in the address":                 {Bridge, "http://localhost:8080", "http://localhost:8080/?a=1", "http_endpoints[0].url", false},
		"a routing of the bridge":                {Bridge, bridgeSink, bridgeSink + "    routing: r\n", "sinks[0].routing", false},
		"no YAML":                                {NATS, "sinks:", "sinks: [", "", true},
		"no mapping":                             {NATS, string(sequin.NATS), "- 1\n", "", true},
	} {
		text := string(map[Shape][]byte{NATS: sequin.NATS, Bridge: sequin.Bridge}[tc.shape])
		if !strings.Contains(text, tc.from) {
			t.Fatalf("%s: %q is not in the file", name, tc.from)
		}
		text = strings.Replace(text, tc.from, tc.to, 1)
		_, found, err := ReadFile([]byte(text), environ, Options{BridgeBatch: 50})
		if got := strings.Join(wheres(found), " "); got != tc.want || (err != nil) != tc.unreadable {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
		whole(t, found)
	}
}

// Both files at once are two sinks on one slot.
func TestBothFilesAtOnce(t *testing.T) {
	t.Parallel()
	_, sink, _ := strings.Cut(string(sequin.Bridge), "\nsinks:\n")
	_, endpoint, _ := strings.Cut(string(sequin.Bridge), "\nhttp_endpoints:\n")
	endpoint, _, _ = strings.Cut(endpoint, "\nsinks:\n")
	_, found, err := ReadFile([]byte(string(sequin.NATS)+sink+"\nhttp_endpoints:\n"+endpoint), environ, Options{BridgeBatch: 50})
	if got := wheres(found); err != nil || !slices.Equal(got, []string{"sinks"}) {
		t.Errorf("got %v, %v, want the sinks", got, err)
	}
}
