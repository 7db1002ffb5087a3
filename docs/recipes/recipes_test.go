// Package recipes holds tests only: they do what the recipes say.
package recipes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A recipe is the blocks of a page, in order. Nothing of the module is changed: the
// go command is told to see the blocks' files in place of what is there.
type recipe struct {
	root     string            // of the module
	files    map[string]string // by path, as the recipe leaves them
	commands []string
}

var block = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([^\n]+))?\n(.*?)^```$")

// read follows a page as far as its files go.
func read(page, root string) (*recipe, error) {
	r := &recipe{root: root, files: map[string]string{}}
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		language, path, text := found[1], found[2], found[3]
		var err error
		switch {
		case language == "sh":
			r.commands = append(r.commands, strings.Split(strings.TrimSpace(text), "\n")...)
		case path == "":
			err = fmt.Errorf("a block of %s names no file:\n%s", language, text)
		case language == "diff":
			err = r.change(path, text)
		default:
			err = r.add(path, text)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(r.files) == 0 || len(r.commands) == 0 {
		return nil, errors.New("no files, or no commands")
	}
	return r, r.formatted()
}

func (r *recipe) add(path, text string) error {
	if _, err := r.text(path); err == nil {
		return fmt.Errorf("%s is there already: want a diff", path)
	}
	r.files[path] = text
	return nil
}

// text is a file as the blocks so far have left it.
func (r *recipe) text(path string) (string, error) {
	if text, ok := r.files[path]; ok {
		return text, nil
	}
	text, err := os.ReadFile(filepath.Join(r.root, path))
	return string(text), err
}

// change replaces the lines of a diff that begin with a space or a minus by those
// that begin with a space or a plus. They must be in the file once.
func (r *recipe) change(path, diff string) error {
	text, err := r.text(path)
	if err != nil {
		return err
	}
	var before, after strings.Builder
	for line := range strings.Lines(diff) {
		switch kind, rest := line[0], line[1:]; kind {
		case '-':
			before.WriteString(rest)
		case '+':
			after.WriteString(rest)
		case ' ':
			before.WriteString(rest)
			after.WriteString(rest)
		default:
			return fmt.Errorf("%s: a line of a diff begins with a space, - or +: %q", path, line)
		}
	}
	if n := strings.Count("\n"+text, "\n"+before.String()); n != 1 {
		return fmt.Errorf("%s: these lines of the diff are there %d times, want once:\n%s", path, n, before.String())
	}
	r.files[path] = strings.Replace("\n"+text, "\n"+before.String(), "\n"+after.String(), 1)[1:]
	return nil
}

// formatted refuses Go that `make lint` would.
func (r *recipe) formatted() error {
	for path, text := range r.files {
		if filepath.Ext(path) != ".go" {
			continue
		}
		got, err := format.Source([]byte(text))
		if err == nil && string(got) != text {
			err = errors.New("gofmt writes it otherwise")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// overlay writes the files down, where the go command will read them.
func (r *recipe) overlay(dir string) (file string, err error) {
	replace := map[string]string{}
	for path, text := range r.files {
		at := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(r.root, path)] = at
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// within bounds a command: the first may have to compile half of the module.
const within = 10 * time.Minute

func (r *recipe) run(t *testing.T, command, overlay string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = r.root
	// vet runs in each package's directory, and that of a new one is not there.
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" "+raceFlag+" -vet=off -overlay="+overlay))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if strings.HasPrefix(command, "go test ") && (!strings.Contains(string(out), "ok  \t") || strings.Contains(string(out), "no tests to run")) {
		t.Fatalf("%s: ran no test\n%s", command, out)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// depend makes the result of this test, which the go command keeps, hold only as
// long as the sources that the commands read are as they are.
func depend(t *testing.T, dir string) {
	t.Helper()
	for _, room := range []string{"internal", "migrations", "outbox", "sequin"} {
		err := filepath.WalkDir(filepath.Join(dir, room), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecipes(t *testing.T) {
	t.Parallel()
	depend(t, root(t))
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) < 2 {
		t.Fatalf("got %d recipes, %v", len(pages), err)
	}
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			r, err := read(string(text), root(t))
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := r.overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, command := range r.commands {
				r.run(t, command, overlay)
			}
		})
	}
}

// A recipe that does not fit what is there is found out.
func TestARecipeThatDoesNotFit(t *testing.T) {
	t.Parallel()
	const command = "```sh\ntrue\n```\n"
	fence := func(info, text string) string { return "```" + info + "\n" + text + "```\n" }
	for name, tc := range map[string]struct{ page, want string }{
		"lines that are not there":    {fence("diff go.mod", "-no such line\n+x\n"), "there 0 times"},
		"lines that are there twice":  {fence("diff go.mod", " )\n+x\n"), "there 2 times"},
		"a file that is not there":    {fence("diff nothing.go", " x\n"), "no such file"},
		"a new file that is there":    {fence("go go.mod", "x\n"), "there already"},
		"a block without a file":      {fence("go", "x\n"), "names no file"},
		"a diff with another line":    {fence("diff go.mod", "x\n"), "begins with a space"},
		"Go that gofmt would change":  {fence("go x.go", "package  x\n"), "gofmt"},
		"Go that is none":             {fence("go x.go", "package x\n\nfunc\n"), "expected"},
		"nothing":                     {"", "no files"},
		"a file that is changed here": {fence("go x.go", "package x\n") + fence("diff x.go", "-package x\n+package y\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(tc.page+command, root(t))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
