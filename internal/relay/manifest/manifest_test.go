package manifest

import (
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/sequin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a file with nothing in it that is not needed; %s is put into the sink.
const small = `
databases: [{name: app, hostname: h, database: d, slot: {name: s}, publication: {name: p}}]
http_endpoints: [{name: hook, url: "http://localhost"}]
functions: [{name: route-it, type: routing, sink_type: nats, code: "x"}, {name: pick, type: path, path: record.payload}]
sinks:
  - name: one
    database: app
`

const toNATS = "    destination: {type: nats, host: h, port: 4222}\n"

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":                                     {"a: [b", "not YAML"},
		"a list at the top":                            {"- a", "the file is no mapping"},
		"C34 unknown sink key":                         {small + toNATS + "    batch_szie: 5\n", "sinks[0].batch_szie: unknown field"},
		"C34 unknown endpoint key":                     {strings.Replace(small, "name: hook,", "name: hook, methd: GET,", 1) + toNATS, "http_endpoints[0].methd: unknown field"},
		"C35 batch off with a size":                    {small + "    batch_size: 2\n    destination: {type: webhook, http_endpoint: hook, batch: false}\n", "sinks[0].batch_size: must be 1 with batch: false"},
		"C35 group columns without grouping":           {small + toNATS + "    message_grouping: false\n    tables: [{name: a.b, group_column_names: [c]}]\n", "sinks[0].tables[0].group_column_names: cannot be given"},
		"C35 tables in and out":                        {small + toNATS + "    source: {include_tables: [a], exclude_tables: [b]}\n", "sinks[0].source.include_tables: give include_tables or exclude_tables"},
		"C36 a variable that is not set":               {strings.Replace(small, "hostname: h", `hostname: "${UNSET}"`, 1) + toNATS, "databases[0].hostname: can't be blank"},
		"C36 a variable where an integer is":           {small + toNATS + "    batch_size: \"${N}\"\n", "sinks[0].batch_size: must be written as an integer"},
		"ssl by a variable":                            {strings.Replace(small, "hostname: h", `hostname: h, ssl: "${SSL:-false}"`, 1) + toNATS, "databases[0].ssl: must be written as true or false"},
		"a name with a space":                          {strings.Replace(small, "name: one", "name: one two", 1) + toNATS, "sinks[0].name: may hold letters"},
		"no destination":                               {small, "sinks[0].destination.type: can't be blank"},
		"no NATS host and port":                        {small + "    destination: {type: nats}\n", "sinks[0].destination.host: can't be blank"},
		"a batch that is too large":                    {small + toNATS + "    batch_size: 1001\n", "sinks[0].batch_size: must be an integer from 1 to 1000"},
		"no retries at all":                            {small + toNATS + "    max_retry_count: 0\n", "sinks[0].max_retry_count: must be greater than 0"},
		"an unknown status":                            {small + toNATS + "    status: sleeping\n", "sinks[0].status: must be one of active, paused, disabled"},
		"an unknown action":                            {small + toNATS + "    actions: [upsert]\n", "sinks[0].actions: may hold"},
		"a function that is not there":                 {small + toNATS + "    routing: other\n", `sinks[0].routing: "other" is not among`},
		"a function of another type":                   {small + toNATS + "    filter: route-it\n", `sinks[0].filter: "route-it" is not among`},
		"a database that is not there":                 {strings.Replace(small, "database: app", "database: other", 1) + toNATS, `sinks[0].database: "other" is not among`},
		"an endpoint that is not there":                {small + "    destination: {type: webhook, http_endpoint: other}\n", `sinks[0].destination.http_endpoint: "other" is not among`},
		"a slot in two forms":                          {strings.Replace(small, "slot: {name: s}", "slot: {name: s}, slot_name: s", 1) + toNATS, "databases[0].slot: give slot or slot_name"},
		"no slot":                                      {strings.Replace(small, ", slot: {name: s}", "", 1) + toNATS, "databases[0].slot.name: can't be blank"},
		"a routing function for nothing in particular": {strings.Replace(small, "sink_type: nats, ", "", 1) + toNATS, "functions[0].sink_type: a routing function says"},
		"an endpoint that is no address":               {strings.Replace(small, "http://localhost", "ftp://localhost", 1) + toNATS, "http_endpoints[0].url: must be a URL that begins with http://"},
		"a host that Sequin refuses":                   {strings.Replace(small, "http://localhost", "http://my_host:80", 1) + toNATS, "http_endpoints[0].url: the host may hold"},
		"a path without a slash":                       {small + "    destination: {type: webhook, http_endpoint: hook, http_endpoint_path: x}\n", "sinks[0].destination.http_endpoint_path: must begin with /"},
		"a path with a space":                          {small + "    destination: {type: webhook, http_endpoint: hook, http_endpoint_path: \"/a b\"}\n", "http_endpoint_path: must begin with /"},
		"sinks that are no list":                       {"sinks: {}", "sinks: must be a list"},
		"a sink that is no mapping":                    {"sinks: [a]", "sinks[0]: must be a mapping"},
		"a grouping that is no truth":                  {small + toNATS + "    message_grouping: sometimes\n", "sinks[0].message_grouping: must be true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Read([]byte(c.text), []string{"N=5"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing but what is needed":         small + toNATS,
		"C34 unknown database key":           strings.Replace(small, "hostname: h", "hostname: h, colour: red", 1) + toNATS,
		"C37 tables without group columns":   small + toNATS + "    tables: [{name: event_runtime.outbox}]\n",
		"unknown keys at the top":            small + toNATS + "anything: 1\n",
		"what Sequin exports":                small + toNATS + "    consumer_start: x\n    active_backfills: []\n    id: 1\n    filter: none\n    transform: none\n    load_shedding_policy: discard_on_full\n",
		"strings for numbers and truths":     strings.Replace(small, "hostname: h", `hostname: h, port: "5432", pool_size: "7"`, 1) + "    message_grouping: \"false\"\n    destination: {type: nats, host: h, port: \"${P}\", tls: \"${UNSET}\"}\n",
		"the flat names of older files":      strings.Replace(small, "slot: {name: s}, publication: {name: p}", "slot_name: s, publication_name: p", 1) + toNATS,
		"an anchor and a merge":              "x: &d {hostname: h, database: d}\n" + strings.Replace(small, "hostname: h, database: d", "<<: *d", 1) + toNATS,
		"the older word for functions":       strings.Replace(small, "functions:", "transforms:", 1) + toNATS + "    transform: pick\n    routing: route-it\n",
		"an endpoint with lists for headers": strings.Replace(small, `url: "http://localhost"`, `url: "http://localhost", headers: {A: b}, encrypted_headers: [{key: C, value: d}]`, 1) + "    destination: {type: webhook, http_endpoint: hook}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Read([]byte(text), []string{"P=4222"})
			if err != nil {
				t.Fatal(err)
			}
			if f.Databases[0].Hostname != "h" || f.Databases[0].Slot.Name != "s" || f.Databases[0].Publication.Name != "p" || f.Sinks[0].Name != "one" {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestSubstitution holds what Sequin's command line makes of the same file.
func TestSubstitution(t *testing.T) {
	t.Parallel()
	environ := []string{"SET_VAR=a: b #c", "NUM=007", "MULTI=x\ny", "BOOL=true", "KEYVAR=kk", "EMPTY="}
	for text, want := range map[string]string{
		"${SET_VAR}": "a: b #c", "${SET_VAR:-d}": "a: b #c", "${UNSET:-}": "", "${UNSET:-dflt}": "dflt", "$SET_VAR $$ ${ not }": "a: b #c $ ",
		"${NUM}": "007", "${UNSET:-5}": "5", "${MULTI}": "x\ny", "${BOOL}": "true", "${SET_VAR}-${NUM}": "a: b #c-007",
		"${EMPTY:-fallback}": "fallback", "${EMPTY-fallback}": "", "${EMPTY}": "", "${UNSET}": "",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			in := map[string]any{"list": []any{text, 7, true}, "code": text, "${KEYVAR}": "val"}
			got, err := substitute(in, "", environ)
			if err != nil {
				t.Fatal(err)
			}
			out := got.(map[string]any)
			if list := out["list"].([]any); !slices.Equal(list, []any{want, 7, true}) {
				t.Errorf("got %q, want %q", list[0], want)
			}
			if out["code"] != text || out["${KEYVAR}"] != "val" {
				t.Errorf("got code %q and keys of %v, want them as they were", out["code"], out)
			}
		})
	}
}

func TestUnreadableVariable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"${A", "${A:-$_}", "${A:-${_", "${A:-x${_ y}"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if _, err := Read([]byte("databases: [{name: '"+text+"'}]"), nil); err == nil || !strings.Contains(err.Error(), "databases[0].name: the variables") {
				t.Errorf("got %v, want the key", err)
			}
		})
	}
}

func TestShippedFile(t *testing.T) {
	t.Parallel()
	f, err := Read(sequin.NATS, []string{"OUTBOX_PG_HOST=db.internal", "OUTBOX_PG_DATABASE="})
	if err != nil {
		t.Fatal(err)
	}
	d, s := f.Databases[0], f.Sinks[0]
	if d.Name != "runtime" || d.Hostname != "db.internal" || d.Database != "runtime" {
		t.Errorf("got database %+v", d)
	}
	if s.Name != "outbox-nats" || s.Routing != "outbox-subject" || s.Grouping || s.Destination.Type != NATS || !slices.Equal(s.Actions, []string{"insert"}) {
		t.Errorf("got sink %+v", s)
	}
}

func TestShippedBridgeFile(t *testing.T) {
	t.Parallel()
	f, err := Read(sequin.Bridge, []string{"BRIDGE_URL=https://user:pass@bridge.internal:8443/base", "BRIDGE_TOKEN=t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	s := f.Sinks[0]
	if s.Name != "outbox-bridge" || s.Routing != "" || s.Grouping || s.BatchSize != 50 || s.MaxRetryCount != 0 || !slices.Equal(s.Actions, []string{"insert"}) {
		t.Errorf("got sink %+v", s)
	}
	if want := (Destination{Type: Webhook, Endpoint: "bridge", Path: "/sequin/outbox", Batch: true}); s.Destination != want {
		t.Errorf("got %+v, want %+v", s.Destination, want)
	}
	e, ok := f.Endpoint("bridge")
	if !ok || e.URL != "https://bridge.internal:8443/base" || len(e.Headers) != 1 || e.Headers["Authorization"] != "Bearer t0ken" {
		t.Errorf("got endpoint %+v", e)
	}
}

// TestC37GroupedBy: which columns make the group of a row.
func TestC37GroupedBy(t *testing.T) {
	t.Parallel()
	keys := []string{"id"}
	for name, c := range map[string]struct {
		sink string
		want []string
	}{
		"by default the primary key":  {"", keys},
		"grouping is off":             {"    message_grouping: false\n", nil},
		"listed without columns":      {"    tables: [{name: a.t}]\n", nil},
		"listed with columns":         {"    tables: [{name: a.t, group_column_names: [x, y]}]\n", []string{"x", "y"}},
		"another table is listed":     {"    tables: [{name: t}]\n", keys},
		"grouping is off and listed":  {"    message_grouping: false\n    tables: [{name: a.t}]\n", nil},
		"grouping is on, in so words": {"    message_grouping: \"true\"\n", keys},
	} {
		f, err := Read([]byte(small+toNATS+c.sink), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := f.Sinks[0].GroupedBy("a", "t", keys); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestSelects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source        Source
		schema, table string
		want          bool
	}{
		"everything by default":        {Source{}, "a", "t", true},
		"a table that is named":        {Source{IncludeTables: []string{"a.t"}}, "a", "t", true},
		"a leaf of it":                 {Source{IncludeTables: []string{"a.t"}}, "a", "t_20261120_0", false},
		"a bare name is in public":     {Source{IncludeTables: []string{"t"}}, "public", "t", true},
		"and nowhere else":             {Source{IncludeTables: []string{"t"}}, "a", "t", false},
		"a table that is left out":     {Source{ExcludeTables: []string{"a.t"}}, "a", "t", false},
		"its neighbour":                {Source{ExcludeTables: []string{"a.t"}}, "a", "u", true},
		"a schema that is named":       {Source{IncludeSchemas: []string{"a"}}, "a", "t", true},
		"another schema":               {Source{IncludeSchemas: []string{"a"}}, "b", "t", false},
		"a schema that is left out":    {Source{ExcludeSchemas: []string{"a"}}, "a", "t", false},
		"of a schema one table is out": {Source{IncludeSchemas: []string{"a"}, ExcludeTables: []string{"a.t"}}, "a", "t", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.source.Selects(c.schema, c.table); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// FuzzRead: no file makes it panic, and no fault repeats a value.
func FuzzRead(f *testing.F) {
	f.Add([]byte(small + toNATS))
	f.Add(sequin.NATS)
	f.Add([]byte("sinks: [{name: [a], actions: {b: c}, tables: 7, destination: []}]"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = Read(text, []string{"A=b"}) })
}
