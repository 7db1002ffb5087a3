package sequin_test

import (
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/sequin"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestNamesExist holds the file against the schema of this release: what it
// names is there, and the role may do what it must.
func TestNamesExist(t *testing.T) {
	t.Parallel()
	for name, text := range map[string][]byte{"sequin.yaml": sequin.NATS, "sequin.bridge.yaml": sequin.Bridge} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namesExist(t, text)
		})
	}
}

func namesExist(t *testing.T, text []byte) {
	t.Helper()
	f, err := manifest.Read(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	db := testenv.Postgres(t).Conn(testenv.Superuser)
	exists := func(what, sql string, args ...any) {
		t.Helper()
		var yes bool
		if err := db.QueryRow(t.Context(), sql, args...).Scan(&yes); err != nil || !yes {
			t.Errorf("%s: got %v, %v, want it there", what, yes, err)
		}
	}
	d := f.Databases[0]
	if d.Slot.Name != migrations.Slot || d.Publication.Name != migrations.Publication || d.Slot.Create || d.Publication.Create {
		t.Errorf("got slot %+v and publication %+v, want those of the migrations, made by them", d.Slot, d.Publication)
	}
	exists("publication", `select pubinsert and pubviaroot and not pubupdate and not pubdelete and not pubtruncate from pg_publication where pubname = $1`, d.Publication.Name)
	for _, s := range f.Sinks {
		for _, name := range s.Source.IncludeTables {
			schema, table, _ := strings.Cut(name, ".")
			exists("table "+name, `select exists (select from pg_publication_tables where pubname = $1 and schemaname = $2 and tablename = $3)`, d.Publication.Name, schema, table)
			exists("SELECT on "+name, `select has_table_privilege('runtime_relay', $1, 'SELECT')`, name)
			for _, column := range sequin.Columns(text) {
				exists("column "+column, `select exists (select from information_schema.columns where table_schema = $1 and table_name = $2 and column_name = $3)`, schema, table, column)
			}
		}
		if _, ok := route.Lookup(s.Routing); !ok && s.Routing != "" {
			t.Errorf("function %q is not known to the built-in relay", s.Routing)
		}
	}
	exists("role", `select rolreplication and rolbypassrls and not rolsuper from pg_roles where rolname = 'runtime_relay'`)
}

func TestColumns(t *testing.T) {
	t.Parallel()
	got := strings.Join(sequin.Columns(sequin.NATS), " ")
	if want := "tenant_id ecosystem event_type event_id traceparent"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
