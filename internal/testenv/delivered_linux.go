package testenv

import (
	"context"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// awaitDelivered returns when the other end's kernel has acknowledged all that
// was written, or ctx ends. A kernel tells nobody when that happens: it is asked.
func awaitDelivered(ctx context.Context, conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		waiting := 0
		if err := raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || waiting == 0 {
			return
		}
		if !sleep(ctx, 100*time.Microsecond) {
			return
		}
	}
}
