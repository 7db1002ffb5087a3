package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	adoptWithin = 5 * time.Second
	quitWithin  = 5 * time.Second
)

// A leftover is a postmaster that an earlier process of ours started and did not
// live to stop.
type leftover struct {
	pid, port int
	text      string // what postmaster.pid says up to the start time: it names one life of one server
	done      chan struct{}
}

// findLeftover reads postmaster.pid, and believes it only when that process is a
// Postgres at work in the directory.
func findLeftover(data string) (*leftover, bool) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil, false
	}
	lines := strings.SplitN(string(text), "\n", 5) // pid, directory, start, port, rest
	if len(lines) < 5 {
		return nil, false
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		return nil, false
	}
	port, _ := strconv.Atoi(lines[3])
	l := &leftover{pid: pid, port: port, text: strings.Join(lines[:3], "\n"), done: make(chan struct{})}
	alive := serverProcesses(pid, data)
	return l, len(alive) > 0 && alive[0] == pid
}

// answers reports whether the server at url is this one: it knows our password
// and reads the same postmaster.pid.
func (l *leftover) answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, adoptWithin)
	defer cancel()
	text, err := readLock(ctx, url)
	return err == nil && strings.HasPrefix(text, l.text+"\n")
}

// readLock asks the server at url for its postmaster.pid.
func readLock(ctx context.Context, url string) (text string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = conn.QueryRow(ctx, `select pg_read_file('postmaster.pid')`).Scan(&text)
	return text, err
}

// watch closes done when the server is gone. It cannot be called off: whoever
// adopts a server stops it.
func (l *leftover) watch() {
	_ = awaitGone(context.Background(), l.pid)
	close(l.done)
}

func (l *leftover) PID() int              { return l.pid }
func (l *leftover) Done() <-chan struct{} { return l.done }
func (l *leftover) Err() error            { <-l.done; return nil }

func (l *leftover) Signal(sig syscall.Signal) error {
	select {
	case <-l.done:
		return os.ErrProcessDone // the number may be another's by now
	default:
		return syscall.Kill(l.pid, sig)
	}
}

// EndPostgres ends a server that an earlier process left at work in dir, so that
// the directory may be removed.
func EndPostgres(ctx context.Context, dir string) error {
	claim, err := ClaimDir(dir)
	if err != nil {
		return fmt.Errorf("end postgres: %w", err)
	}
	defer claim.Release()
	data := site{dir: dir}.data()
	if found, alive := findLeftover(data); alive {
		return endAll(ctx, data, found.pid)
	}
	return endAll(ctx, data, 0)
}

// endAll ends every process of a server in the data directory: SIGQUIT to the
// postmaster, then SIGKILL to all. Orphans of a dead postmaster are ended too:
// their shared memory would keep the next server from starting.
func endAll(ctx context.Context, data string, postmaster int) error {
	pids := serverProcesses(postmaster, data)
	if len(pids) > 0 && pids[0] == postmaster {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT) // a stopped process would not hear the next one
		}
		if err := endProcess(ctx, postmaster, syscall.SIGQUIT, quitWithin); err != nil {
			return fmt.Errorf("end the postgres left in %s: %w", data, err)
		}
	}
	for _, pid := range serverProcesses(0, data) {
		if err := endProcess(ctx, pid, syscall.SIGKILL, quitWithin); err != nil {
			return fmt.Errorf("end an orphan of the postgres in %s: %w", data, err)
		}
	}
	return unlock(data)
}

// unlock removes the lock of a server whose process is dead but not buried: in a
// container perhaps nobody ever buries it, and Postgres takes it for one at work.
func unlock(data string) error {
	lock := filepath.Join(data, "postmaster.pid")
	pid, ok := lockedBy(lock)
	if !ok || syscall.Kill(pid, 0) != nil || identity(pid) != "" {
		return nil // gone, which Postgres sees by itself, or another process by now
	}
	return os.Remove(lock)
}

func lockedBy(lock string) (pid int, ok bool) {
	text, _ := os.ReadFile(lock)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	return pid, err == nil
}
