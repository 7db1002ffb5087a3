package skip

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder stands for a test that is skipped.
type recorder struct {
	testing.TB
	name    string
	skipped string
}

func (r *recorder) Helper()          {}
func (r *recorder) Name() string     { return r.name }
func (r *recorder) Skip(args ...any) { r.skipped = fmt.Sprint(args...) }

func TestSkipIsListed(t *testing.T) { // not parallel: it changes the environment
	path := filepath.Join(t.TempDir(), "skips")
	t.Setenv(Env, path)
	first, second := &recorder{name: "TestA"}, &recorder{name: "TestB/a case"}
	Test(first, "no %s here", "tmpfs")
	Test(second, "two\nlines")
	if first.skipped != "no tmpfs here" {
		t.Errorf("got reason %q", first.skipped)
	}
	want := "internal/testenv/skip.TestA: no tmpfs here\ninternal/testenv/skip.TestB/a case: two lines\n"
	if got, _ := os.ReadFile(path); string(got) != want {
		t.Errorf("got list\n%s\nwant\n%s", got, want)
	}
}

func TestPackageOf(t *testing.T) {
	t.Parallel()
	for function, want := range map[string]string{
		"github.com/finnest/event-runtime/internal/local.TestX":                  "internal/local",
		"github.com/finnest/event-runtime/internal/local_test.(*T).Method.func1": "internal/local",
		"github.com/finnest/event-runtime/internal/adapters/ofb.TestX.func2":     "internal/adapters/ofb",
		"command-line-arguments.TestX":                                           "command-line-arguments",
	} {
		if got := packageOf(function); got != want {
			t.Errorf("%s: got %q, want %q", function, got, want)
		}
	}
}
