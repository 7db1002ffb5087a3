package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A server that is dead must not keep the next one from starting because nobody
// has buried it. Any other lock is for Postgres to judge.
func TestLockOfTheUnburied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pid     func(*testing.T) int
		removed bool
	}{
		"dead and not buried": {func(t *testing.T) int { return dead(t).Process.Pid }, true},
		"dead and buried": {func(t *testing.T) int {
			cmd := dead(t)
			_ = cmd.Wait()
			return cmd.Process.Pid
		}, false},
		"alive": {func(*testing.T) int { return os.Getpid() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			lock := filepath.Join(data, "postmaster.pid")
			if err := os.WriteFile(lock, fmt.Appendf(nil, "%d\n%s\n", c.pid(t), data), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := unlock(data); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(lock); errors.Is(err, os.ErrNotExist) != c.removed {
				t.Errorf("got %v from a look at the lock, want removed %v", err, c.removed)
			}
		})
	}
}

// dead is a process that has ended, and whose end nobody has taken note of.
func dead(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	wantGone(t, cmd.Process.Pid)
	return cmd
}
