package cli

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
)

// call runs one command in this process.
func call(t *testing.T, args ...string) (status int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = Run(t.Context(), args, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

// without takes variables away that the machine may have set. The test cannot
// be parallel.
func without(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		t.Setenv(name, "") // puts it back afterwards
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExitStatusAndWhereItIsSaid(t *testing.T) {
	without(t, "DATABASE_URL", "VERIFY_DATABASE_URL", "MIGRATE_DATABASE_URL")
	for name, tc := range map[string]struct {
		args   []string
		status int
		out    string // on standard output
		err    string // on standard error
	}{
		"help":                         {[]string{"--help"}, 0, "Reports every regulated API call", ""},
		"version":                      {[]string{"version"}, 0, "event-runtime ", ""},
		"no command":                   {nil, 64, "", "Run event-runtime --help"},
		"unknown command":              {[]string{"fly"}, 64, "", "fly"},
		"unknown flag":                 {[]string{"verify", "--jsom"}, 64, "", "--jsom"},
		"missing argument":             {[]string{"batch", "requeue"}, 64, "", "<id>"},
		"value outside of its set":     {[]string{"up", "--chaos", "heavy"}, 64, "", "--chaos"},
		"value of another kind":        {[]string{"nats", "--port", "many"}, 64, "", "--port"},
		"negative grace is a duration": {[]string{"verify", "--grace", "soon"}, 64, "", "--grace"},
		"verify without an address":    {[]string{"verify"}, 3, "", "VERIFY_DATABASE_URL"},
		"verify with a bad address":    {[]string{"verify", "--database-url", "postgres://%%"}, 3, "", "database address"},
		"migrate without an address":   {[]string{"migrate"}, 1, "", "MIGRATE_DATABASE_URL"},
		"requeue of no id":             {[]string{"batch", "requeue", "7"}, 1, "", "batch requeue 7"},
		"serve without an address":     {[]string{"serve"}, 1, "", "DATABASE_URL"},
		"a directory that is not there": {[]string{"simulate", "ofb", "--directory", "/nowhere/at/all.json"}, 1, "",
			"/nowhere/at/all.json"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, err := call(t, tc.args...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(err, tc.err) {
				t.Fatalf("got status %d\nout: %s\nerr: %s\nwant %d, %q, %q", status, out, err, tc.status, tc.out, tc.err)
			}
			if status == 0 && err != "" || status != 0 && out != "" {
				t.Fatalf("got status %d with out %q and err %q: results and complaints are mixed", status, out, err)
			}
		})
	}
}

// leaves are the commands that do something, as a person calls them.
func leaves(of reflect.Type, path ...string) (all [][]string) {
	for i := range of.NumField() {
		field := of.Field(i)
		if _, isCommand := field.Tag.Lookup("cmd"); !isCommand {
			continue
		}
		name := strings.ToLower(field.Name)
		if given := field.Tag.Get("name"); given != "" {
			name = given
		}
		here := append(append([]string{}, path...), name)
		if below := leaves(field.Type, here...); len(below) > 0 {
			all = append(all, below...)
			continue
		}
		all = append(all, here)
	}
	return all
}

// silent finds a flag without words, be it on its line or on the next.
var silent = regexp.MustCompile(`(?m)^ +(-\w, )?--\S+\n(?: {0,10}\S|\n|\z)`)

// Whoever asks for help is told what the command is for and what each flag means.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	commands := leaves(reflect.TypeFor[commands]())
	if len(commands) < 9 {
		t.Fatalf("got commands %v, want all of them", commands)
	}
	_, top, _ := call(t, "--help")
	for _, path := range commands {
		name := strings.Join(path, " ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(top, name) {
				t.Errorf("not in the list of commands")
			}
			status, out, err := call(t, append(path, "--help")...)
			if status != 0 || err != "" || !strings.Contains(out, "Usage: event-runtime "+name) {
				t.Fatalf("got status %d, %q, %q, want its usage", status, out, err)
			}
			for _, flag := range silent.FindAllString(out, -1) {
				t.Errorf("says nothing about %s", strings.TrimSpace(flag))
			}
		})
	}
}

func TestMigrateSaysWhatItDid(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	status, out, err := call(t, "migrate", "--no-slot", "--database-url", db.URL(testenv.Superuser))
	if status != 0 || err != "" || out != "schema is current, partitions exist 14 days ahead\n" {
		t.Fatalf("got status %d, %q, %q", status, out, err)
	}
}

func TestPrintRolesIsTheFile(t *testing.T) {
	t.Parallel()
	want, err := migrations.FS.ReadFile("roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	if status, out, complaint := call(t, "migrate", "--print-roles"); status != 0 || out != string(want) || complaint != "" {
		t.Fatalf("got status %d, %q, %q", status, out, complaint)
	}
}
