package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `package x

const sqlGood = "select event_id from event_runtime.outbox where tenant_id = @tenant and recorded_on = @day"

const columns = "event_id, tenant_id"

const (
	sqlJoined = "select " + columns + (" from event_runtime.outbox")
	sqlite    = "not SQL at all"
)

func f() {
	const sqlInside = ` + "`\nselect event_id\n  from event_runtime.outbox\n where no_such_column = @a`" + `
	_ = sqlInside
}

const sqlBad = "select * from event_runtime.no_such_table"
`

func write(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"x.go": text, "x_test.go": "package x\n\nconst sqlOfTests = \"nonsense\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrepareNamesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	db, dir := Postgres(t), write(t, source)
	r := &recorder{TB: t}
	Prepare(r, db, dir)
	got := strings.Join(r.failed, "\n")
	if len(r.failed) != 2 {
		t.Errorf("got %d failures, want 2:\n%s", len(r.failed), got)
	}
	for _, want := range []string{`x.go:16: sqlInside: ERROR: column "no_such_column"`, `x.go:20: sqlBad: ERROR: relation "event_runtime.no_such_table"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %s", got, want)
		}
	}
	Prepare(t, db, dir, "sqlInside", "sqlBad")
}

func TestPrepareGuardsItself(t *testing.T) {
	t.Parallel()
	db := Postgres(t)
	for name, c := range map[string]struct {
		source string
		except []string
		want   string
	}{
		"nothing to prepare":   {"package x\n", nil, "no constant named sql"},
		"left out for nothing": {"package x\n\nconst sqlA = `select 1`\n", []string{"sqlB"}, "[sqlB]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			Prepare(r, db, write(t, c.source), c.except...)
			if got := strings.Join(r.failed, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

func TestConstantsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"of another package": "package x\n\nconst sqlA = other.B\n",
		"of itself":          "package x\n\nconst sqlA = `a` + sqlA\n",
		"no string":          "package x\n\nconst sqlA = 1\n",
		"no Go":              "pack age\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := sqlConstants(write(t, source)); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}
