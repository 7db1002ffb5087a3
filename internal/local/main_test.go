package local

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// roleEnv makes the test binary play a process of its own, as "role argument".
const roleEnv = "LOCAL_TEST_ROLE"

func TestMain(m *testing.M) {
	if role, argument, ok := strings.Cut(os.Getenv(roleEnv), " "); ok {
		os.Exit(play(role, argument))
	}
	goleak.VerifyTestMain(m)
}

func play(role, argument string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch role {
	case "wait": // until it is told to end
		fmt.Println("waiting")
		<-ctx.Done()
		return 0
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("waiting")
		select {}
	case "fail":
		fmt.Println("cannot start:", argument)
		return 3
	case "postgres":
		return holdPostgres(ctx, argument)
	case "supervisor":
		return holdSupervisor(ctx, argument)
	}
	return 2
}

func holdPostgres(ctx context.Context, dir string) int {
	p, err := StartPostgres(ctx, PostgresConfig{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.PID())
	<-ctx.Done()
	return 0
}

func holdSupervisor(ctx context.Context, dir string) int {
	s, err := NewSupervisor(SupervisorConfig{Dir: dir}, Child{Name: "a", Env: as("wait -")}, Child{Name: "b", Env: as("stubborn -")})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		<-s.Ready()
		for _, c := range s.Status() {
			fmt.Println(c.PID)
		}
	}()
	if err := s.Run(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func as(role string) []string { return []string{roleEnv + "=" + role} }

// startRole runs the test binary in a role and gives it with its output, line
// by line.
func startRole(t *testing.T, role string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), as(role)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func readPID(t *testing.T, lines *bufio.Scanner) (pid int) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("got no line: %v", lines.Err())
	}
	if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
		t.Fatalf("got %q, want a process id", lines.Text())
	}
	return pid
}

func wantGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := awaitGone(ctx, pid); err != nil {
		t.Fatal(err)
	}
}

func wantAlive(t *testing.T, pid int) {
	t.Helper()
	if identity(pid) == "" {
		t.Fatalf("process %d is gone, want it alive", pid)
	}
}
