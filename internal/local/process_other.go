//go:build !linux

package local

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// bindDeath does nothing: only Linux has a parent-death signal. A child left
// behind is found again by its pid file.
func bindDeath(*syscall.SysProcAttr, syscall.Signal) {}

// identity tells this life of pid from any other by when it began. It is empty
// for a process that is gone.
func identity(pid int) string {
	text, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, began, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if err != nil || strings.HasPrefix(state, "Z") {
		return ""
	}
	return strings.TrimSpace(began)
}

// serverProcesses lists the postmaster and its children.
func serverProcesses(postmaster int, _ string) []int {
	name, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(postmaster)).Output()
	if err != nil || !strings.Contains(string(name), "postgres") {
		return nil
	}
	pids := []int{postmaster}
	text, _ := exec.Command("pgrep", "-P", strconv.Itoa(postmaster)).Output()
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func awaitGone(ctx context.Context, pid int) error { return pollGone(ctx, pid) }
