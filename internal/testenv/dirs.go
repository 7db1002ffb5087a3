package testenv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// DirEnv moves what test processes keep between them.
const DirEnv = "TESTENV_DIR"

// home is that directory, on disk.
func home() (string, error) {
	if dir := os.Getenv(DirEnv); dir != "" {
		return private(dir)
	}
	return private(ownName(os.TempDir()))
}

// scratch is for what no other process needs tomorrow: in memory where there is
// enough of it.
func scratch() (string, error) {
	root, ok := memoryRoot()
	if !ok || os.Getenv(DirEnv) != "" {
		return home()
	}
	return private(ownName(root))
}

func ownName(root string) string {
	return filepath.Join(root, "event-runtime-testenv-"+strconv.Itoa(os.Getuid()))
}

// private makes dir and makes sure that it is ours alone: a password is in it,
// and where anybody may make directories somebody may have been first.
func private(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of tests: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("look at the directory of tests: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is not a directory of this user alone: remove it, or name another in %s", dir, DirEnv)
	}
	return dir, nil
}

// moduleRoot is the directory of go.mod above the working directory, which is
// the tested package's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// lockFile waits for the right to a file; the kernel gives it back when the
// process dies.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() {
		_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) // a child between fork and exec has a copy
		_ = file.Close()
	}, nil
}

// copyTree copies directories and regular files; a file system that can share
// blocks does so.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		case entry.Type().IsRegular():
			return copyFile(path, target)
		default:
			return fmt.Errorf("copy %s: neither file nor directory", path)
		}
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
