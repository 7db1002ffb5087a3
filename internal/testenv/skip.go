package testenv

import (
	"os"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv/skip"
)

// ModeEnv chooses what services are made of: "containers", or this machine's own.
const ModeEnv = "TESTENV"

// Skip skips the test and puts it on the list with the reason.
func Skip(t testing.TB, reason string, args ...any) {
	t.Helper()
	skip.Test(t, reason, args...)
}

// Containers skips a test that needs a container engine. TESTENV=containers has
// no services behind it yet: it is the place where they come in.
func Containers(t testing.TB) {
	t.Helper()
	if os.Getenv(ModeEnv) != "containers" {
		Skip(t, "needs a container engine: set TESTENV=containers")
	}
	Skip(t, "TESTENV=containers starts no containers yet")
}
