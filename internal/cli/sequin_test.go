package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/sequin"
)

// The check answers with its exit status: 0 fine, 1 findings, 2 when something
// could not be read, findings or not.
func TestSequinCheckAnswersWithItsExitStatus(t *testing.T) {
	without(t, "DATABASE_URL", "SEQUIN_URL", "SEQUIN_API_TOKEN", "BRIDGE_BATCH_SIZE")
	t.Setenv("BRIDGE_TOKEN", "bridge-secret-0123456789-0123456789")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bridge := file("sequin.yaml", string(sequin.NATS)), file("sequin.bridge.yaml", string(sequin.Bridge))
	bad := file("bad.yaml", strings.Replace(string(sequin.NATS), "actions: [insert]", "actions: [insert, update]", 1))
	pg := testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "64GB"))
	if _, err := migrations.EnsureSlot(t.Context(), pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	nobody := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nobody.Close)
	readonly := pg.URL("runtime_readonly")
	for name, tc := range map[string]struct {
		args     []string
		status   int
		out, err string
	}{
		"the shipped file":              {[]string{good}, 0, "fine\n", ""},
		"the other one":                 {[]string{bridge}, 0, "fine\n", ""},
		"a smaller bridge":              {[]string{bridge, "--bridge-batch", "10"}, 1, "sinks[0].batch_size", ""},
		"a changed file":                {[]string{bad}, 1, "sinks[0].actions: not exactly [insert]\n  why  ", ""},
		"with its database":             {[]string{good, "--database-url", readonly}, 0, "nobody reads it now", ""},
		"a changed file, and database":  {[]string{bad, "--database-url", readonly}, 1, "not as it must be\n", ""},
		"no file":                       {nil, 2, "", "name the file"},
		"a file that is not there":      {[]string{filepath.Join(dir, "none")}, 2, "", "no such file"},
		"a file that is none":           {[]string{file("no.yaml", "- 1")}, 2, "", "no mapping"},
		"no database address":           {[]string{good, "--database-url", "postgres://u:hunter2@%%"}, 2, "", "not a database address"},
		"a database that is away":       {[]string{bad, "--database-url", "postgres://x@127.0.0.1:1/x"}, 2, "sinks[0].actions", "database: "},
		"no token for the server":       {[]string{good, "--sequin-url", nobody.URL}, 2, "", "SEQUIN_API_TOKEN: the variable is not set"},
		"a token in place of reference": {[]string{good, "--sequin-url", nobody.URL, "--sequin-token", "hunter2"}, 2, "", "--sequin-token: credential: a reference begins with"},
		"a server that is none":         {[]string{good, "--sequin-url", nobody.URL, "--sequin-token", "env:BRIDGE_TOKEN"}, 2, "/health", "404 for /api/config/export"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"sequin", "check"}, tc.args...)
			status, out, complaints := call(t, args...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(complaints, tc.err) || (status == 2) != (complaints != "") {
				t.Errorf("got %d\nout: %s\nerr: %s\nwant %d, %q, %q", status, out, complaints, tc.status, tc.out, tc.err)
			}
			again, text, quiet := call(t, append(args, "--json")...)
			var report checked
			if err := json.Unmarshal([]byte(text), &report); err != nil || again != tc.status || report.Exit != tc.status || quiet != "" || (tc.status == 2) != (len(report.Unread) > 0) || (tc.status == 1) && len(report.Findings) == 0 {
				t.Errorf("as JSON: got %d, %v, %s%s", again, err, text, quiet)
			}
			if strings.Contains(out+complaints+text, "hunter2") || strings.Contains(out+complaints+text, "bridge-secret") {
				t.Errorf("a secret was told: %s %s %s", out, complaints, text)
			}
		})
	}
}
