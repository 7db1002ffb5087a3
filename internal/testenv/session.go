package testenv

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is this test process's use of the shared cluster. It is the one
// variable here that changes: a template must outlive the test that made it.
var process session

type session struct {
	mayKeep atomic.Bool // Main runs, so the binary can be started as a keeper

	mu       sync.Mutex
	conn     net.Conn // our being counted as a user
	hello    hello
	server   server
	template string // in this cluster, once it is there
}

// shared joins the shared cluster, starting it where nobody has, and makes sure
// of the template.
func (s *session) shared(ctx context.Context) (server, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayKeep.Load() {
		return server{}, "", errors.New("call testenv.Main first in TestMain")
	}
	if s.conn == nil {
		if err := s.join(ctx); err != nil {
			return server{}, "", fmt.Errorf("join the shared cluster: %w", err)
		}
	}
	if s.template == "" {
		name, err := makeTemplate(ctx, s.server)
		if err != nil {
			return server{}, "", fmt.Errorf("make the template: %w", err)
		}
		s.template = name
	}
	return s.server, s.template, nil
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn, s.template = nil, ""
	}
}

func (s *session) join(ctx context.Context) error {
	base, err := scratch()
	if err != nil {
		return err
	}
	dir := filepath.Join(base, "shared")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(dir, "join.lock")) // of several processes one starts the keeper
	if err != nil {
		return err
	}
	defer unlock()
	if s.dial(dir) == nil {
		return nil
	}
	if err := startKeeper(ctx, dir); err != nil {
		return err
	}
	return s.dial(dir)
}

// dial becomes a user of the keeper that wrote its address there, if it lives.
func (s *session) dial(dir string) error {
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", string(address), time.Second)
	if err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.hello)
	}
	if err == nil {
		s.server, err = parseServer(s.hello.URL)
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("hear the keeper's hello: %w", err)
	}
	s.conn = conn
	return nil
}

// startKeeper runs this binary as the keeper, in a session of its own: it must
// outlive us, and a Ctrl-C. It returns when the cluster is ready.
func startKeeper(ctx context.Context, dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "keeper.log")) // our own output must not be inherited: go test waits for its end
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	heard, says, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = heard.Close() }()
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), keeperEnv+"="+dir)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{says}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = says.Close()
	if err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	defer func() { _ = cmd.Process.Release() }() // whoever is init buries it
	return awaitReady(ctx, heard, log.Name())
}

func awaitReady(ctx context.Context, heard *os.File, log string) error {
	bound := time.Now().Add(startBound)
	if d, ok := ctx.Deadline(); ok && d.Before(bound) {
		bound = d
	}
	_ = heard.SetReadDeadline(bound)
	said, err := io.ReadAll(heard)
	if err == nil && string(said) == "ready\n" {
		return nil
	}
	printed, _ := os.ReadFile(log)
	return fmt.Errorf("the keeper did not get ready (%w): %s\n%s", err, strings.TrimSpace(string(said)), bytes.TrimSpace(printed))
}
