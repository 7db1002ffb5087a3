package testenv

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

const fillerName = "filler"

// FillDisk leaves no free byte on the cluster's small file system, until
// FreeDisk.
func (c *PostgresServer) FillDisk() {
	c.t.Helper()
	parent := filepath.Dir(c.cfg.Dir)
	if !isMount(parent) {
		c.t.Fatal("FillDisk is for a cluster made with OnTmpfs")
	}
	file, err := os.OpenFile(filepath.Join(parent, fillerName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := io.Copy(file, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		c.t.Fatalf("fill the disk: got %v, want %v", err, syscall.ENOSPC)
	}
}

// FreeDisk gives the space back.
func (c *PostgresServer) FreeDisk() {
	c.t.Helper()
	if err := os.Remove(filepath.Join(filepath.Dir(c.cfg.Dir), fillerName)); err != nil {
		c.t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// isMount keeps FillDisk from the disk of everybody.
func isMount(dir string) bool {
	var here, above syscall.Stat_t
	if syscall.Stat(dir, &here) != nil || syscall.Stat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev
}
