// Package crash holds the named places at which a test may kill the process.
//
// Promise: Point does nothing unless CRASHPOINT names it; then the process
//
//	sends SIGKILL to itself, so nothing deferred runs, as in a power cut.
//
// State:   a hit counter per armed name.
// Failure: when the marker file cannot be written the kill happens all the
//
//	same, and the harness reports the missing marker.
package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env is the variable that arms one point: "name" or "name:nth" (first is 1).
const Env = "CRASHPOINT"

// MarkerEnv names a file that is written just before the kill, so that a
// harness can tell a hit from a process that died of something else.
const MarkerEnv = "CRASHPOINT_MARKER"

type plan struct {
	name   string
	nth    int64
	marker string
	hits   atomic.Int64
}

var armed = parse(os.Getenv(Env), os.Getenv(MarkerEnv))

func parse(spec, marker string) *plan {
	if spec == "" {
		return nil
	}
	p := &plan{name: spec, nth: 1, marker: marker}
	if name, nth, ok := strings.Cut(spec, ":"); ok {
		if n, err := strconv.ParseInt(nth, 10, 64); err == nil && n > 0 {
			p.name, p.nth = name, n
		}
	}
	return p
}

// Point kills the process when CRASHPOINT names it and this is the nth hit.
func Point(name string) {
	if armed == nil || armed.name != name {
		return
	}
	switch n := armed.hits.Add(1); {
	case n == armed.nth:
		armed.die()
	case n > armed.nth:
		select {} // the process is dying: nobody goes past this point any more
	}
}

func (p *plan) die() {
	if p.marker != "" {
		_ = os.WriteFile(p.marker, []byte(p.name), 0o600)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; run nothing more
}

// Bytes kills the process once n bytes in all have been reported to it: for the
// point "after_k_bytes", k stands where nth stands for others.
func Bytes(name string, n int) {
	if armed == nil || armed.name != name || armed.hits.Add(int64(n)) < armed.nth {
		return
	}
	armed.die()
}
