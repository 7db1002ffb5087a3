package local

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

const pollEvery = 20 * time.Millisecond

// pollGone waits for the end of a process that is not our child, where the
// system cannot tell us of it.
func pollGone(ctx context.Context, pid int) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for identity(pid) != "" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d is still there: %w", pid, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// endProcess ends a process that is not our child: sig, then SIGKILL after grace.
// The caller has made sure that pid is who it thinks.
func endProcess(ctx context.Context, pid int, sig syscall.Signal, grace time.Duration) error {
	_ = syscall.Kill(pid, sig)
	asked, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if awaitGone(asked, pid) == nil {
		return nil
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	taken, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return awaitGone(taken, pid)
}
