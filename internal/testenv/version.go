package testenv

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/finnest/event-runtime/internal/local"
)

var major = regexp.MustCompile(`\) (\d+)`)

// NeedsMajor skips a test that needs a newer Postgres than this machine has.
func NeedsMajor(t testing.TB, least int) {
	t.Helper()
	version, err := local.PostgresVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := major.FindStringSubmatch(version)
	if found == nil {
		t.Fatalf("no version in %q", version)
	}
	if have, _ := strconv.Atoi(found[1]); have < least {
		Skip(t, "needs Postgres %d, this machine has %d: set EVENT_RUNTIME_PG_BIN", least, have)
	}
}
