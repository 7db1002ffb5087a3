package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log", "a.log")
	l, err := openLog(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line := strings.Repeat("x", 99) + "\n"
	for range 50 {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("got %d bytes and %v, want %d and none", n, err, len(line))
		}
	}
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == 0 || info.Size() > 1000 {
			t.Errorf("%s: got %d bytes, want 1 to 1000", filepath.Base(name), info.Size())
		}
	}
	if got := len(l.Tail()); got != 5000 {
		t.Errorf("got a tail of %d bytes, want 5000", got)
	}
}

func TestLogGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	for _, text := range []string{"one\n", "two\n"} {
		l, err := openLog(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = l.Write([]byte(text))
		l.Close()
		_, _ = l.Write([]byte("late\n")) // from a pipe that is still being read
	}
	if got, _ := os.ReadFile(path); string(got) != "one\ntwo\n" {
		t.Errorf("got %q, want both runs", got)
	}
}
