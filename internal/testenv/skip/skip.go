// Package skip leaves a test out, and says so where it is counted.
//
// Promise: no test is left out silently: the list is compared with docs/skips.md.
// State:   the file that TESTENV_SKIPS names.
// Failure: a list that cannot be written fails the test.
package skip

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// Env names the file that lists what was skipped, and why.
const Env = "TESTENV_SKIPS"

const module = "github.com/finnest/event-runtime/"

// Test skips the test and puts it on the list with the reason.
func Test(t testing.TB, reason string, args ...any) {
	t.Helper()
	reason = fmt.Sprintf(reason, args...)
	if path := os.Getenv(Env); path != "" {
		if err := list(path, caller()+"."+t.Name()+": "+oneLine(reason)+"\n"); err != nil {
			t.Fatalf("list a skipped test: %v", err)
		}
	}
	t.Skip(reason)
}

// list appends in one write, so that packages tested side by side do not mix
// their lines.
func list(path, line string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(line)
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// caller is the package of the test, without the module's name.
func caller() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.File, "_test.go") {
			return packageOf(frame.Function)
		}
		if !more {
			return "unknown"
		}
	}
}

// packageOf takes the package from "path/of/package_test.(*Type).Method.func1".
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return strings.TrimSuffix(strings.TrimPrefix(function[:slash]+name, module), "_test")
}
