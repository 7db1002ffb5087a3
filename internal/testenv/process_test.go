package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestProcessExits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		role string
		end  func(*Process)
		want int
	}{
		"by itself":                 {"exit 3", func(*Process) {}, 3},
		"when asked":                {"wait", func(p *Process) { p.Signal(syscall.SIGTERM) }, 0},
		"killed, as a shell counts": {"wait", (*Process).Kill, 137},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := helper(t, c.role)
			if c.role == "wait" {
				if got := p.Line("ready"); got != "partial line, ready" {
					t.Errorf("got line %q, want the whole of it", got)
				}
			}
			c.end(p)
			p.ExitedWith(c.want)
		})
	}
}

func TestProcessLineThatNeverComes(t *testing.T) {
	t.Parallel()
	p := helper(t, "exit 3")
	if _, err := p.out.await("no such line", exitWithin); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("got %v, want that the process ended", err)
	}
}

// A module of its own: what the others of this one are like today is not its business.
func TestProgramIsLinkedWhenSomethingChanged(t *testing.T) { // not parallel: it changes the environment
	t.Setenv(DirEnv, filepath.Join(t.TempDir(), "private"))
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func() os.FileInfo {
		path, err := buildProgram(root, "./program")
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	write("go.mod", "module example\n\ngo 1.26\n")
	if err := os.Mkdir(filepath.Join(root, "program"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("program/main.go", "package main\n\nfunc main() {}\n")
	first, second := build(), build()
	if !os.SameFile(first, second) { // its time may change: the go command notes the use
		t.Error("linked again though nothing had changed")
	}
	write("program/main.go", "package main\n\nfunc main() { println(1) }\n")
	if third := build(); os.SameFile(first, third) {
		t.Error("not linked again after a change")
	}
	write("program/main.go", "package main\n\nfunc main() { no such thing }\n")
	if _, err := buildProgram(root, "./program"); err == nil || !strings.Contains(err.Error(), "main.go:3") {
		t.Errorf("got %v, want the compiler's words", err)
	}
}

func TestBinaryMayBeGiven(t *testing.T) { // not parallel: it changes the environment
	t.Setenv(BinaryEnv, "/given")
	if got := Binary(t); got != "/given" {
		t.Errorf("got %s, want /given", got)
	}
}
