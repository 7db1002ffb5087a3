package testenv

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

const helperEnv = "TESTENV_TEST_HELPER"

// TestHelper is the program that tests of Process run: the test binary itself.
func TestHelper(t *testing.T) {
	switch os.Getenv(helperEnv) {
	case "":
		return
	case "exit 3":
		fmt.Println("leaving")
		os.Exit(3)
	case "wait":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		fmt.Print("par")
		fmt.Println("tial line, ready")
		<-ctx.Done()
		os.Exit(0)
	}
}

func helper(t *testing.T, role string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, exe, []string{"-test.run=^TestHelper$"}, []string{helperEnv + "=" + role})
}

// A recorder stands for a test that is expected to fail or to be skipped.
type recorder struct {
	testing.TB
	name    string
	failed  []string
	skipped string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Name() string              { return r.name }
func (r *recorder) Error(args ...any)         { r.failed = append(r.failed, fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, a ...any) { r.failed = append(r.failed, fmt.Sprintf(f, a...)) }
func (r *recorder) Skip(args ...any)          { r.skipped = fmt.Sprint(args...) }
