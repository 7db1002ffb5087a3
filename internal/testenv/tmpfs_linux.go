package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const mountSource = "testenv-" // and the process id of who mounted it

func mountTmpfs(t testing.TB, dir string, bytes int64) {
	t.Helper()
	unmountOrphans()
	source := mountSource + strconv.Itoa(os.Getpid())
	if err := syscall.Mount(source, dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		Skip(t, "mounting a tmpfs is not permitted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

// unmountOrphans takes down what a test process mounted and did not live to
// unmount.
func unmountOrphans() {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line) // source, target, type, options
		if len(fields) < 3 || fields[2] != "tmpfs" || !strings.HasPrefix(fields[0], mountSource) {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimPrefix(fields[0], mountSource))
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}
