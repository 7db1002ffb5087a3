package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// unpacked is where .ci/deps-test puts libraries.
const unpacked = "../.tools/producers/usr"

// language is how programs of one language are run here.
type language struct {
	t           *testing.T
	interpreter string
	env         []string
	program     string   // the example
	inline      []string // arguments before a script of the test's own
	script      string
}

// languages need what .ci/deps-test brings. What is missing is a failure: a
// skipped example proves nothing.
var languages = map[string]func(*testing.T) *language{"TypeScript": typeScript, "Python": python}

func python(t *testing.T) *language {
	t.Helper()
	l := &language{t: t, program: absolute(t, "python/consent.py"), inline: []string{"-c"}, script: allFieldsPython,
		env: []string{"PYTHONDONTWRITEBYTECODE=1", path("PYTHONPATH", absolute(t, "python"), absolute(t, unpacked+"/lib/python3/dist-packages"))}}
	l.choose([]string{"/usr/bin/python3", "python3"}, "-c", "import psycopg2")
	return l
}

func typeScript(t *testing.T) *language {
	t.Helper()
	built, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	l := &language{t: t, program: filepath.Join(built, "consent.js"), inline: []string{"-e"}, script: allFieldsNode,
		env: []string{path("NODE_PATH", built, absolute(t, unpacked+"/share/nodejs"), absolute(t, "typescript/node_modules"))}}
	l.choose([]string{"node", "nodejs"}, "-e", "require('pg')")
	return l
}

// compiled is where the JavaScript is: made once, by the first test that asks.
var compiled = sync.OnceValues(func() (string, error) { return work, compile(work) })

// compile turns TypeScript into JavaScript, as strictly as the example's own
// settings say. Of Node's types only what the example uses is declared here.
func compile(into string) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	libraries := filepath.Join(here, unpacked, "share/nodejs")
	settings, err := json.Marshal(map[string]any{
		"extends": filepath.Join(here, "typescript/tsconfig.json"),
		"files":   []string{filepath.Join(here, "typescript/consent.ts"), filepath.Join(here, "testdata/node.d.ts")},
		"compilerOptions": map[string]any{"outDir": into, "types": []string{}, "baseUrl": "/", "noEmitOnError": true,
			"paths": map[string][]string{"*": {libraries + "/@types/*", libraries + "/*"}}},
	})
	if err != nil {
		return err
	}
	project := filepath.Join(into, "tsconfig.json")
	if err := os.WriteFile(project, settings, 0o600); err != nil {
		return err
	}
	compiler := []string{"node", filepath.Join(libraries, "typescript/bin/tsc")}
	if _, err := os.Stat(compiler[1]); err != nil { // no apt: see .ci/deps-test
		compiler[1] = filepath.Join(here, "typescript/node_modules/typescript/bin/tsc")
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if out, err := command(ctx, append(compiler, "-p", project), nil, "").CombinedOutput(); err != nil {
		return fmt.Errorf("compile typescript/: %w (.ci/deps-test brings the compiler)\n%s", err, out)
	}
	return nil
}

// choose takes the first interpreter that has the client of Postgres.
func (l *language) choose(interpreters []string, probe ...string) {
	l.t.Helper()
	if err := depend(); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	var tried []string
	for _, name := range interpreters {
		out, err := command(ctx, append([]string{name}, probe...), l.env, "").CombinedOutput()
		if err == nil {
			l.interpreter = name
			return
		}
		tried = append(tried, name+": "+err.Error()+" "+string(out))
	}
	l.t.Fatalf("no interpreter with a client of Postgres: run .ci/deps-test, which says what is missing\n%s", strings.Join(tried, "\n"))
}

// run gives a program its input and waits for its end.
func (l *language) run(args, env []string, input string) (out string, err error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	cmd := command(ctx, append([]string{l.interpreter}, args...), append(env, l.env...), input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			l.t.Fatalf("%s: got %v, want an exit status of 0 or 1\n%s", args[0], err, stderr.String())
		}
		return "", errors.New(strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// within bounds a program; here most take less than a second.
const within = 2 * time.Minute

func command(ctx context.Context, words, env []string, input string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env, cmd.Stdin = append(os.Environ(), env...), strings.NewReader(input)
	return cmd
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// path puts directories before those that the variable names already.
func path(name string, dirs ...string) string {
	if have := os.Getenv(name); have != "" {
		dirs = append(dirs, have)
	}
	return name + "=" + strings.Join(dirs, string(os.PathListSeparator))
}

// depend makes a result that the go command keeps hold only as long as these
// files are as they are: it sees what a test looks at, and not what the programs
// read that the test runs.
var depend = sync.OnceValue(func() error {
	for _, dir := range []string{"typescript", "python", "testdata", unpacked} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
})
