package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func bindDeath(attr *syscall.SysProcAttr, death syscall.Signal) { attr.Pdeathsig = death }

// identity tells this life of pid from any other: process ids come back, also
// after a reboot. It is empty for a process that is gone or only unburied.
func identity(pid int) string {
	fields := stat(pid)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(boot)) + "/" + fields[19]
}

// stat gives the fields of /proc/pid/stat from the third (the state) on; the
// second is the program's name, which may hold spaces and brackets.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// serverProcesses lists what works in the data directory: every process of a
// Postgres server keeps it as its current directory, also when its postmaster
// is dead. The postmaster comes first.
func serverProcesses(postmaster int, data string) []int {
	home, err := os.Stat(data)
	if err != nil {
		return nil
	}
	var pids []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(entry))
		if pid == os.Getpid() || !worksIn(entry, home) {
			continue
		}
		pids = append(pids, pid)
		if pid == postmaster {
			pids[0], pids[len(pids)-1] = pid, pids[0]
		}
	}
	return pids
}

func worksIn(entry string, home os.FileInfo) bool {
	cwd, err := os.Stat(entry + "/cwd") // through the link: the name may be another one, or unreachable
	if err != nil || !os.SameFile(cwd, home) {
		return false
	}
	exe, err := os.Readlink(entry + "/exe")
	return err == nil && strings.HasPrefix(filepath.Base(exe), "postgres")
}

// awaitGone returns nil when pid has ended, reaped or not.
func awaitGone(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return pollGone(ctx, pid) // gone, or a kernel before 5.3
	}
	defer func() { _ = unix.Close(fd) }()
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		if n > 0 {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
	return fmt.Errorf("process %d is still there: %w", pid, ctx.Err())
}
