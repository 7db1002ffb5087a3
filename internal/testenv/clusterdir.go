package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/finnest/event-runtime/internal/local"
)

// clusterParent is where the cluster's files go: on disk what is to be durable,
// else wherever it is quick.
func clusterParent(t testing.TB, o clusterOptions) string {
	t.Helper()
	if o.durable || o.tmpfs > 0 {
		dir := t.TempDir()
		if o.tmpfs > 0 {
			mountTmpfs(t, dir, o.tmpfs)
		}
		return dir
	}
	base, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "clusters")
	dropOrphans(root)
	dir := filepath.Join(root, fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// dropOrphans removes the clusters of test processes that were killed.
func dropOrphans(root string) {
	dirs, _ := filepath.Glob(filepath.Join(root, "*-*"))
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(filepath.Base(dir), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		if local.EndPostgres(context.Background(), filepath.Join(dir, "cluster")) == nil {
			_ = os.RemoveAll(dir)
		}
	}
}
