package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinaryEnv names a program that is built already.
const BinaryEnv = "TESTENV_BINARY"

// Binary builds cmd/event-runtime as the test is built, with the race detector
// or without, and gives its path. Test processes share it: the go command links
// it again only when something changed.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(BinaryEnv); path != "" {
		return path
	}
	path, err := program()
	if err != nil {
		t.Fatalf("build the program: %v", err)
	}
	return path
}

// program asks the go command once: even to find nothing changed takes it a second.
var program = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return buildProgram(root, "./cmd/event-runtime")
})

// natsServer is the program of the version in go.mod. It is nobody's to test, so
// it goes without the race detector.
var natsServer = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return buildWith(root, "github.com/nats-io/nats-server/v2", "nats-server", false)
})

// buildProgram waits for its turn: the go command, started twice, would link
// twice.
func buildProgram(root, pkg string) (string, error) {
	return buildWith(root, pkg, filepath.Base(pkg), raceEnabled)
}

func buildWith(root, pkg, name string, race bool) (string, error) {
	base, err := home()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s race=%v", root, race)) // two checkouts must not take turns
	dir := filepath.Join(base, "bin", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, name)
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}
