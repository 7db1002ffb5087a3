package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const survivorGrace = 5 * time.Second

func pidPath(dir, name string) string { return filepath.Join(dir, name+".pid") }

// writePID notes a child with what tells its life from a later one's of the same
// number. A child that ended before that is noted as nothing to look for.
func writePID(dir, name string, pid int) error {
	unfinished := pidPath(dir, name) + ".new" // half a file would let a survivor go
	err := os.WriteFile(unfinished, fmt.Appendf(nil, "%d\n%s\n", pid, identity(pid)), 0o600)
	if err == nil {
		err = os.Rename(unfinished, pidPath(dir, name))
	}
	if err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

func removePID(dir, name string) { _ = os.Remove(pidPath(dir, name)) }

// endSurvivors ends what an earlier supervisor left running. A number that means
// another process by now is left alone.
func endSurvivors(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		return err
	}
	var failed []error
	for _, file := range files {
		if pid, ok := survivor(file); ok {
			_ = syscall.Kill(pid, syscall.SIGCONT)
			if err := endProcess(ctx, pid, syscall.SIGTERM, survivorGrace); err != nil {
				failed = append(failed, fmt.Errorf("end %s left by an earlier run: %w", filepath.Base(file), err))
				continue
			}
		}
		_ = os.Remove(file)
	}
	return errors.Join(failed...)
}

func survivor(file string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	number, life, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	pid, err := strconv.Atoi(number)
	if err != nil || life == "" {
		return 0, false
	}
	return pid, identity(pid) == life
}
