package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrInUse says that another live process works on the directory.
var ErrInUse = errors.New("directory is in use")

const lockName = "lock"

// A Claim is the right to work on a directory. The kernel gives it back when
// the process dies, however it dies.
type Claim struct{ file *os.File }

// ClaimDir makes dir where it is missing and takes it, or says who has it.
func ClaimDir(dir string) (*Claim, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory to claim: %w", err)
	}
	// The descriptor is close-on-exec, so that no child inherits the lock and
	// keeps it beyond our death.
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := holderOf(file)
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s belongs to %s; stop it, or choose another directory", ErrInUse, dir, holder)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := signLock(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("sign lock: %w", err)
	}
	return &Claim{file}, nil
}

// Release gives the directory back. The file stays: removing it would let two
// processes lock two files of one name.
func (c *Claim) Release() {
	if c != nil {
		// Said aloud: a child on its way from fork to exec still has a copy of the
		// descriptor, and closing ours would leave the lock with it.
		_ = syscall.Flock(int(c.file.Fd()), syscall.LOCK_UN)
		_ = c.file.Close()
	}
}

func signLock(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

func holderOf(file *os.File) string {
	text := make([]byte, 32)
	n, _ := file.ReadAt(text, 0)
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return "process " + pid
	}
	return "another process"
}
