package manifest

import (
	"regexp"
	"slices"
	"strings"
)

// Kinds of destinations.
const (
	NATS    = "nats"
	Webhook = "webhook"
)

// Sink is an entry of sinks.
type Sink struct {
	Name            string
	Database        string
	Status          string // active, paused, disabled
	Source          Source
	Actions         []string
	Filter          string // functions by name; empty when there is none
	Transform       string
	Routing         string
	Enrichment      string
	Grouping        bool
	Groups          map[string][]string // columns by table; a table that is not in it is grouped by its primary key
	BatchSize       int
	TimestampFormat string
	MaxRetryCount   int    // 0: for ever
	InitialBackfill bool   // one is asked for
	Annotations     []byte // a JSON object
	Destination     Destination
}

// Source says which tables a sink is about.
type Source struct{ IncludeSchemas, ExcludeSchemas, IncludeTables, ExcludeTables []string }

// Destination is where a sink sends to. How to reach NATS is Sequin's: a relay of
// ours has a connection of its own.
type Destination struct {
	Type     string
	Endpoint string // webhook: by name
	Path     string // webhook
	Batch    bool   // webhook
}

func readSink(o object) Sink {
	o.only("name", "database", "destination", "status", "source", "table", "schema", "tables", "actions", "filter", "transform", "routing", "enrichment",
		"message_grouping", "batch_size", "timestamp_format", "load_shedding_policy", "max_retry_count", "initial_backfill", "annotations",
		"consumer_start", "active_backfill", "active_backfills", "message_kind", "id", "inserted_at", "updated_at")
	s := Sink{
		Name: o.name(), Database: o.required("database"), Status: o.one("status", "active", "active", "paused", "disabled"),
		Source: o.source(), Actions: o.actions(),
		Filter: o.function("filter"), Transform: o.function("transform"), Routing: o.function("routing"), Enrichment: o.function("enrichment"),
		Grouping: o.truth("message_grouping", true), BatchSize: o.number("batch_size", 1, false),
		TimestampFormat: o.one("timestamp_format", "iso8601", "iso8601", "unix_microsecond"),
		MaxRetryCount:   o.number("max_retry_count", 0, false), Annotations: o.annotations(), Destination: o.destination(),
	}
	o.one("load_shedding_policy", "pause_on_full", "pause_on_full", "discard_on_full")
	if s.BatchSize < 1 || s.BatchSize > 1000 {
		o.fault("batch_size", "must be an integer from 1 to 1000")
	}
	if _, set := o.fields["max_retry_count"].(int); set && s.MaxRetryCount < 1 {
		o.fault("max_retry_count", "must be greater than 0; leave it out to retry for ever")
	}
	if s.Destination.Type == Webhook && !s.Destination.Batch && s.BatchSize != 1 {
		o.fault("batch_size", "must be 1 with batch: false")
	}
	o.tables(&s)
	switch v := o.fields["initial_backfill"].(type) {
	case nil, bool, string:
		s.InitialBackfill = o.truth("initial_backfill", false)
	default: // a list of tables
		s.InitialBackfill = v != nil
	}
	return s
}

func (o object) source() Source {
	in := o.object("source")
	s := Source{in.texts("include_schemas"), in.texts("exclude_schemas"), in.texts("include_tables"), in.texts("exclude_tables")}
	if s.IncludeSchemas != nil && s.ExcludeSchemas != nil {
		in.fault("include_schemas", "give include_schemas or exclude_schemas, not both")
	}
	if s.IncludeTables != nil && s.ExcludeTables != nil {
		in.fault("include_tables", "give include_tables or exclude_tables, not both")
	}
	if table := o.text("table", ""); table != "" { // older files
		s.IncludeTables = append(s.IncludeTables, o.text("schema", "public")+"."+table)
	}
	return s
}

func (o object) actions() []string {
	if o.fields["actions"] == nil {
		return []string{"insert", "update", "delete"}
	}
	all := o.texts("actions")
	for _, action := range all {
		if action != "insert" && action != "update" && action != "delete" {
			o.fault("actions", "may hold insert, update and delete only")
		}
	}
	return all
}

// tables reads the columns that messages are grouped by. A table that is listed
// without any is not grouped.
func (o object) tables(s *Sink) {
	s.Groups = map[string][]string{}
	each(o, "tables", func(t object) struct{} {
		name, columns := t.required("name"), t.texts("group_column_names")
		if len(columns) > 0 && !s.Grouping {
			t.fault("group_column_names", "cannot be given with message_grouping: false")
		}
		if !strings.Contains(name, ".") {
			name = "public." + name
		}
		s.Groups[name] = columns
		return struct{}{}
	})
}

// GroupedBy gives the columns whose values make the group of a table's row; keys
// are the columns of its primary key.
func (s Sink) GroupedBy(schema, table string, keys []string) []string {
	if !s.Grouping {
		return nil
	}
	if columns, listed := s.Groups[schema+"."+table]; listed {
		return columns
	}
	return keys
}

const longestPath = 2000

var pathForm = regexp.MustCompile(`^/[A-Za-z0-9\-._~!$&'()*+,;=:@%?/]*$`)

func (o object) destination() Destination {
	in := o.object("destination")
	d := Destination{Type: in.required("type")}
	switch d.Type {
	case NATS:
		in.required("host")
		if in.number("port", 0, true) == 0 {
			in.fault("port", "can't be blank")
		}
		in.truth("tls", false)
	case Webhook:
		d.Endpoint, d.Path, d.Batch = in.required("http_endpoint"), in.text("http_endpoint_path", ""), in.truth("batch", true)
		if len(d.Path) > longestPath || d.Path != "" && !pathForm.MatchString(d.Path) {
			in.fault("http_endpoint_path", "must begin with / and be a path of at most %d characters", longestPath)
		}
	}
	return d
}

// Selects reports whether a sink wants the changes of a table. A table without a
// schema is in public.
func (s Source) Selects(schema, table string) bool {
	named := func(list []string) bool {
		return slices.Contains(list, schema+"."+table) || schema == "public" && slices.Contains(list, table)
	}
	switch {
	case s.IncludeSchemas != nil && !slices.Contains(s.IncludeSchemas, schema), slices.Contains(s.ExcludeSchemas, schema):
		return false
	case s.IncludeTables != nil:
		return named(s.IncludeTables)
	default:
		return !named(s.ExcludeTables)
	}
}
