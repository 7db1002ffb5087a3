package deploy

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/cli"
	"github.com/finnest/event-runtime/internal/testenv"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections are what a person who is called at night looks for, in this order.
var sections = []string{"Symptom", "Check", "Action", "Proof"}

var heading = regexp.MustCompile(`(?m)^## (.+)$`)

func TestRunbooksHaveOneForm(t *testing.T) {
	t.Parallel()
	for _, path := range runbookNames(t) {
		var got []string
		for _, found := range heading.FindAllStringSubmatch(read(t, path), -1) {
			got = append(got, found[1])
		}
		if strings.Join(got, " ") != strings.Join(sections, " ") {
			t.Errorf("%s: got the sections %v, want %v", path, got, sections)
		}
	}
}

// block is what a runbook says to run.
type block struct{ section, language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func blocks(t *testing.T, path string) (all []block) {
	t.Helper()
	page := read(t, path)
	at := heading.FindAllStringSubmatchIndex(page, -1)
	for i, place := range at {
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		for _, found := range fence.FindAllStringSubmatch(page[place[0]:end], -1) {
			all = append(all, block{page[place[2]:place[3]], found[1], found[2]})
		}
	}
	return all
}

// calls finds our own commands, in blocks and in the text.
var calls = regexp.MustCompile("(?m)(?:^|`)event-runtime ([^`\n#]+)")

// TestRunbookCommandsExist asks the program itself about each command and flag.
func TestRunbookCommandsExist(t *testing.T) {
	t.Parallel()
	if understood(t, "verify --no-such-flag") || understood(t, "no-such-command") {
		t.Fatal("the program understands what does not exist")
	}
	n := 0
	for _, path := range append(runbookNames(t), "../docs/operations.md") {
		for _, found := range calls.FindAllStringSubmatch(read(t, path), -1) {
			if n++; !understood(t, found[1]) {
				t.Errorf("%s: there is no `event-runtime %s`", path, found[1])
			}
		}
	}
	if n < 5 {
		t.Errorf("found only %d commands", n)
	}
}

// understood reports whether a command and its flags exist: with --help it is
// parsed and not run.
func understood(t *testing.T, call string) bool {
	t.Helper()
	return cli.Run(t.Context(), append(strings.Fields(call), "--help"), io.Discard, io.Discard) == 0
}

// TestRunbookStatementsRun runs each check and each proof as the role that reads,
// on the schema as it is; what acts is only prepared.
func TestRunbookStatementsRun(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	reader, acting, n := db.Conn("runtime_readonly"), db.Conn(testenv.Superuser), 0
	for _, path := range runbookNames(t) {
		for _, b := range blocks(t, path) {
			switch b.language {
			case "sh", "promql":
				continue
			case "sql":
			default:
				t.Errorf("%s: a block of %q, want sh, sql or promql", filepath.Base(path), b.language)
			}
			for statement := range strings.SplitSeq(strings.TrimSuffix(b.text, ";\n"), ";\n") {
				n++
				var err error
				if b.section == "Action" {
					_, err = acting.Prepare(t.Context(), "", statement)
				} else {
					_, err = reader.Exec(t.Context(), statement)
				}
				if err != nil {
					t.Errorf("%s, %s: %s: %v", filepath.Base(path), b.section, statement, err)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("found only %d statements", n)
	}
}

// TestRunbookMetricsExist: what a runbook says to look at is there.
func TestRunbookMetricsExist(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	for _, path := range append(runbookNames(t), "../docs/operations.md") {
		for _, found := range used.FindAllStringSubmatch(read(t, path), -1) {
			if metrics[strings.TrimSuffix(found[1], "_")] == nil && metrics[found[1]] == nil && !prefix(metrics, found[1]) {
				t.Errorf("%s names %s, which nothing exports", path, found[1])
			}
		}
	}
}

// prefix reports a name that stands for several, such as in a grep.
func prefix(metrics map[string]map[string]bool, name string) bool {
	if !strings.HasSuffix(name, "_") {
		return false
	}
	for metric := range metrics {
		if strings.HasPrefix(metric, name) {
			return true
		}
	}
	return false
}
