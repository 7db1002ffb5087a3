// Package docs holds what is written for people against the code.
package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/app"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// variables walks a configuration struct as go-envconfig does.
func variables(of reflect.Type, prefix string, into map[string]string) {
	for i := range of.NumField() {
		field := of.Field(i)
		tag := field.Tag.Get("env")
		name, options, _ := strings.Cut(tag, ",")
		if field.Type.Kind() == reflect.Struct && name == "" {
			more := regexp.MustCompile(`prefix=([A-Z_]+)`).FindStringSubmatch(options)
			if more == nil {
				panic(field.Name + " has no prefix")
			}
			variables(field.Type, prefix+more[1], into)
			continue
		}
		if name == "" {
			continue
		}
		value := ""
		if strings.Contains(options, "required") {
			value = "required"
		}
		if _, after, found := strings.Cut(options, "default="); found {
			value = after
		}
		into[prefix+name] = value
	}
}

var row = regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]+)` \\|([^|]*)\\|")

func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	variables(reflect.TypeFor[app.Config](), "", want)
	variables(reflect.TypeFor[app.RelayConfig](), "", want)
	got := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(read(t, "configuration.md"), -1) {
		got[found[1]] = strings.Trim(found[2], "` ")
	}
	for name, value := range want {
		if documented, ok := got[name]; !ok {
			t.Errorf("%s (default %q) is not in configuration.md", name, value)
		} else if documented != value {
			t.Errorf("%s: documented with %q, the code says %q", name, documented, value)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is in configuration.md, but nothing reads it", name)
	}
}

// eachSource calls do for every Go file of the product.
func eachSource(t *testing.T, do func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testenv") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			do(path, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var eventName = regexp.MustCompile(`^[a-z_]+[.][a-z_]+$`)

// eventsOf finds names of log events: Str("event", "..."), a struct's field
// event, and what is handed to functions that log under a name.
func eventsOf(n ast.Node) []*ast.BasicLit {
	var found []*ast.BasicLit
	add := func(e ast.Expr) {
		if literal, ok := e.(*ast.BasicLit); ok {
			found = append(found, literal)
		}
	}
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "event" {
			add(n.Value)
		}
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.SelectorExpr:
			name = f.Sel.Name
		case *ast.Ident:
			name = f.Name
		}
		key, _ := firstLiteral(n)
		if name == "Str" && key == `"event"` && len(n.Args) == 2 || name == "until" || name == "every" {
			for _, arg := range n.Args {
				add(arg)
			}
		}
	}
	return found
}

func firstLiteral(call *ast.CallExpr) (string, bool) {
	if len(call.Args) == 0 {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	return literal.Value, true
}

// TestEventsAreDocumented compares the table of log events with the code.
func TestEventsAreDocumented(t *testing.T) {
	t.Parallel()
	inCode := map[string]bool{}
	eachSource(t, func(_ string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			for _, literal := range eventsOf(n) {
				if event, _ := strconv.Unquote(literal.Value); eventName.MatchString(event) {
					inCode[event] = true
				}
			}
			return true
		})
	})
	documented := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `([a-z_]+\\.[a-z_]+)` \\|").FindAllStringSubmatch(read(t, "events.md"), -1) {
		documented[found[1]] = true
	}
	compare(t, "log event", "events.md", inCode, documented)
}

func compare(t *testing.T, what, where string, inCode, documented map[string]bool) {
	t.Helper()
	for name := range inCode {
		if !documented[name] {
			t.Errorf("%s %s is not in %s", what, name, where)
		}
	}
	for name := range documented {
		if !inCode[name] {
			t.Errorf("%s %s is in %s, but not in the code", what, name, where)
		}
	}
}

// TestProblemsAreDocumented compares what the routes answer with their pages.
func TestProblemsAreDocumented(t *testing.T) {
	t.Parallel()
	for dir, page := range map[string]string{"intake": "intake.md", "bridge": "sequin.md"} {
		problemsAreDocumented(t, dir, page)
	}
}

func problemsAreDocumented(t *testing.T, dir, page string) {
	t.Helper()
	inCode := map[string]bool{}
	eachSource(t, func(path string, file *ast.File) {
		if filepath.Dir(path) != filepath.Join("..", "internal", dir) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "NewProblem" {
				code, _ := strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
				inCode[code] = true
			}
			return true
		})
	})
	documented := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| [45]\\d\\d \\| `([a-z_]+)` \\|").FindAllStringSubmatch(read(t, page), -1) {
		documented[found[1]] = true
	}
	if len(inCode) < 10 {
		t.Errorf("%s: found only %d problems in the code", dir, len(inCode))
	}
	compare(t, "problem", page, inCode, documented)
}

// constants are the string constants of a type in one package.
func constants(t *testing.T, dir, typeName string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	eachSource(t, func(path string, file *ast.File) {
		if filepath.Dir(path) != filepath.Join("..", dir) {
			return
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok || len(value.Values) != 1 {
					continue
				}
				name, isIdent := value.Type.(*ast.Ident)
				literal, isLiteral := value.Values[0].(*ast.BasicLit)
				if isIdent && isLiteral && name.Name == typeName {
					text, _ := strconv.Unquote(literal.Value)
					found[text] = true
				}
			}
		}
	})
	if len(found) == 0 {
		t.Fatalf("no constants of %s in %s", typeName, dir)
	}
	return found
}

// TestOutcomesAreDocumented compares the closed sets of words with their page.
func TestOutcomesAreDocumented(t *testing.T) {
	t.Parallel()
	page := read(t, "outcomes.md")
	documented := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `[a-z_]+` \\| `([a-z_]+)` \\|").FindAllStringSubmatch(page, -1) {
		documented[found[1]] = true
	}
	compare(t, "code", "outcomes.md", constants(t, "internal/submit", "Code"), documented)

	reasons := constants(t, "internal/consumer", "Reason")
	delete(reasons, "quarantined") // the books' word for all of them
	for reason := range constants(t, "internal/event", "Reason") {
		reasons[reason] = true
	}
	reasons["organisation_unknown"] = true // the adapter's own
	first, _, _ := strings.Cut(page, "Why an event is ineligible")
	documented = map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^`]").FindAllStringSubmatch(first, -1) {
		documented[found[1]] = true
	}
	compare(t, "reason", "outcomes.md", reasons, documented)
}

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

// TestLinksLeadSomewhere follows every relative link of every document.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, document := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(read(t, document), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), found[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, found[1])
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "decisions/*.md", "recipes/*.md", "runbooks/*.md", "../*.md", "../examples/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// testNames are the tests and fuzz targets there are.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`).FindAllStringSubmatch(string(source), -1) {
			tests[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestGuaranteesAreHeld looks for every test that guarantees.md names.
func TestGuaranteesAreHeld(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+|Fuzz[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, "guarantees.md"), -1)
	if len(named) < 10 {
		t.Fatalf("guarantees.md names %d tests", len(named))
	}
	tests := testNames(t)
	for _, found := range named {
		if !tests[found[1]] {
			t.Errorf("guarantees.md promises %s, but there is no such test", found[1])
		}
	}
	// Every line of the table of promises has at least one.
	for _, line := range strings.Split(read(t, "guarantees.md"), "\n") {
		if regexp.MustCompile(`^\| P?\d`).MatchString(line) && !strings.Contains(line, "`Test") && !strings.Contains(line, "`Fuzz") {
			t.Errorf("a promise without a test: %s", line)
		}
	}
}

// TestEveryCaseOfTheWireHasATest holds the table of the contract's cases.
func TestEveryCaseOfTheWireHasATest(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	cases := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^\| (C\d+) \|[^|]+\|([^|]+)\|`).FindAllStringSubmatch(read(t, "wire.md"), -1) {
		named := regexp.MustCompile("`([A-Za-z0-9]+)`").FindAllStringSubmatch(found[2], -1)
		cases[found[1]] = len(named) > 0
		for _, name := range named {
			if !tests[name[1]] {
				t.Errorf("%s: there is no %s", found[1], name[1])
			}
		}
	}
	for n := range 37 {
		if !cases[fmt.Sprintf("C%d", n+1)] {
			t.Errorf("C%d has no test", n+1)
		}
	}
}

// TestDecisionsAreListed compares the list of decisions with the files.
func TestDecisionsAreListed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("decisions/0*.md")
	if err != nil {
		t.Fatal(err)
	}
	list := read(t, "decisions/README.md")
	for n, file := range files {
		if want := fmt.Sprintf("%04d-", n+1); !strings.HasPrefix(filepath.Base(file), want) {
			t.Errorf("%s: want the number %s", file, want)
		}
		if !strings.Contains(list, filepath.Base(file)) {
			t.Errorf("%s is not listed in decisions/README.md", file)
		}
	}
}

// TestDependenciesAreDecisions looks for every direct dependency in 0001.
func TestDependenciesAreDecisions(t *testing.T) {
	t.Parallel()
	decisions := read(t, "decisions/0001-dependencies.md")
	for _, line := range strings.Split(read(t, "../go.mod")+read(t, "../test/routers/go.mod"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.Contains(line, "// indirect") || !strings.Contains(fields[0], ".") || slices.Contains([]string{"module", "go"}, fields[0]) {
			continue
		}
		name := fields[0]
		for _, prefix := range []string{"github.com/", "pgregory.net/", "go.uber.org/", "golang.org/x/"} {
			name = strings.TrimPrefix(name, prefix)
		}
		if base, _, versioned := strings.Cut(name, "/v"); versioned {
			name = base
		}
		if strings.HasPrefix(name, "go.opentelemetry.io/otel") {
			name = "go.opentelemetry.io/otel"
		}
		if !strings.Contains(decisions, name) {
			t.Errorf("%s is a direct dependency, but decisions/0001-dependencies.md does not name it", fields[0])
		}
	}
}
