package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// transport is what carries events from the outbox to consumers.
var transport = []string{"app", "archive", "bridge", "cdc", "relay", "sweep"}

// exported are the metrics of the code, each with its labels; of some packages, or
// of all.
func exported(t *testing.T, of ...string) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for dir, files := range packages(t) {
		if len(of) > 0 && !slices.Contains(of, filepath.Base(dir)) {
			continue
		}
		holders := map[string]string{} // variable or field -> metric
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if made, ok := n.(*ast.AssignStmt); ok {
					if name, labels := instrument(made); name != "" {
						all[name] = labels
						holders[last(made.Lhs[0])] = name
					}
				}
				return true
			})
		}
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					maps.Copy(labelsOf(all, holders[observed(call)]), attributes(call))
				}
				return true
			})
		}
	}
	return all
}

func labelsOf(all map[string]map[string]bool, name string) map[string]bool {
	if all[name] == nil {
		return map[string]bool{} // not one of ours
	}
	return all[name]
}

// packages are the files of the product, by directory.
func packages(t *testing.T) map[string][]*ast.File {
	t.Helper()
	all := map[string][]*ast.File{}
	err := filepath.WalkDir("../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testenv") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		all[filepath.Dir(path)] = append(all[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	metricName = regexp.MustCompile(`^event_runtime_[a-z_]+$`)
	makes      = regexp.MustCompile(`^(Int64|Float64)(Observable)?(Counter|UpDownCounter|Gauge|Histogram)$`)
)

// instrument gives the metric that a statement makes, with the labels of a
// callback that is made with it.
func instrument(made *ast.AssignStmt) (name string, labels map[string]bool) {
	if len(made.Rhs) != 1 {
		return "", nil
	}
	call, ok := made.Rhs[0].(*ast.CallExpr)
	if !ok || !makes.MatchString(last(call.Fun)) || !metricName.MatchString(text(call, 0)) {
		return "", nil
	}
	return text(call, 0), attributes(call)
}

// observed is the instrument that a call measures with: o.ObserveX(it, …), or
// it.Add(…) and it.Record(…).
func observed(call *ast.CallExpr) string {
	f, ok := call.Fun.(*ast.SelectorExpr)
	switch {
	case !ok || len(call.Args) == 0:
		return ""
	case f.Sel.Name == "ObserveInt64" || f.Sel.Name == "ObserveFloat64":
		return last(call.Args[0])
	case f.Sel.Name == "Add" || f.Sel.Name == "Record":
		return last(f.X)
	default:
		return ""
	}
}

// attributes are the labels named anywhere in a call.
func attributes(call *ast.CallExpr) map[string]bool {
	labels := map[string]bool{}
	ast.Inspect(call, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			if f, ok := c.Fun.(*ast.SelectorExpr); ok && last(f.X) == "attribute" {
				labels[text(c, 0)] = true
			}
		}
		return true
	})
	return labels
}

func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	default:
		return ""
	}
}

func text(call *ast.CallExpr, at int) string {
	if len(call.Args) <= at {
		return ""
	}
	literal, ok := call.Args[at].(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(literal.Value)
	return s
}

var (
	used     = regexp.MustCompile(`(event_runtime_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
	shown    = regexp.MustCompile(`\$labels\.([a-z_]+)`)
)

// ofScrape are the labels that Prometheus gives to everything it scrapes.
var ofScrape = []string{"job", "instance"}

// TestAlertsUseWhatIsExported holds the names and labels in rules and in their
// tests against those in the code.
func TestAlertsUseWhatIsExported(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	alerts, records, _ := rules(t)
	recorded := map[string]map[string]bool{}
	for _, r := range records {
		recorded[r.Record] = ruleLabels(t, metrics, nil, r)
	}
	for _, r := range alerts {
		ruleLabels(t, metrics, recorded, r)
	}
	for _, test := range tests(t).Tests {
		for _, s := range test.Series {
			for _, found := range used.FindAllStringSubmatch(s.Series, -1) {
				want := slices.Sorted(maps.Keys(metrics[found[1]]))
				var got []string
				for _, label := range matcher.FindAllStringSubmatch(found[2], -1) {
					if !slices.Contains(ofScrape, label[1]) {
						got = append(got, label[1])
					}
				}
				if slices.Sort(got); metrics[found[1]] == nil || !slices.Equal(got, want) {
					t.Errorf("%q: a series %s, the code exports %s%v", test.Name, s.Series, found[1], want)
				}
			}
		}
	}
}

// ruleLabels complains about names and labels that nothing has, and gives the
// labels that the rule groups by.
func ruleLabels(t *testing.T, metrics, recorded map[string]map[string]bool, r rule) map[string]bool {
	t.Helper()
	has := map[string]bool{}
	for _, found := range used.FindAllStringSubmatch(r.Expr, -1) {
		labels, ok := metrics[found[1]]
		if !ok {
			t.Errorf("%s%s uses %s, which nothing exports", r.name(), r.Record, found[1])
		}
		maps.Copy(has, labels)
		for _, label := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !labels[label[1]] {
				t.Errorf("%s%s: %s has no label %s", r.name(), r.Record, found[1], label[1])
			}
		}
	}
	for name, labels := range recorded {
		if strings.Contains(r.Expr, name) {
			maps.Copy(has, labels)
		}
	}
	grouped := map[string]bool{}
	for _, found := range grouping.FindAllStringSubmatch(r.Expr, -1) {
		for label := range strings.FieldsFuncSeq(found[1], func(c rune) bool { return c == ',' || c == ' ' }) {
			if grouped[label] = true; !has[label] && !slices.Contains(ofScrape, label) {
				t.Errorf("%s%s groups by %s, which none of its metrics has", r.name(), r.Record, label)
			}
		}
	}
	for _, found := range shown.FindAllStringSubmatch(r.Annotations["summary"], -1) {
		if !grouped[found[1]] && (len(recorded) == 0 || !has[found[1]]) {
			t.Errorf("%s shows %s, which its alerts have not", r.name(), found[1])
		}
	}
	return grouped
}

var row = regexp.MustCompile("(?m)^\\| `(event_runtime_[a-z_]+)(?:\\{([a-z_,]*)\\})?` \\|([^|]*)\\|([^|]*)\\|")

// TestMetricsAreDocumented holds the table of metrics against the code, and what
// it says about alerts against the rules.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	metrics := exported(t, transport...)
	if len(metrics) < 20 {
		t.Fatalf("found only %d metrics in the code", len(metrics))
	}
	by := alertsBy(t)
	for _, found := range row.FindAllStringSubmatch(read(t, "../docs/operations.md"), -1) {
		labels, ok := metrics[found[1]]
		if !ok {
			t.Errorf("%s is in operations.md, but nothing exports it", found[1])
			continue
		}
		if want := strings.Join(slices.Sorted(maps.Keys(labels)), ","); found[2] != want {
			t.Errorf("%s: documented with {%s}, the code has {%s}", found[1], found[2], want)
		}
		if got, want := strings.TrimSpace(found[4]), strings.Join(slices.Sorted(maps.Keys(by[found[1]])), ", "); got != want {
			t.Errorf("%s: documented as of the alerts %q, the rules say %q", found[1], got, want)
		}
		delete(metrics, found[1])
	}
	for name := range metrics {
		t.Errorf("%s is not in operations.md", name)
	}
}

// alertsBy gives the alerts that use a metric, also by way of a recorded one.
func alertsBy(t *testing.T) map[string]map[string]bool {
	t.Helper()
	alerts, records, _ := rules(t)
	by := map[string]map[string]bool{}
	for _, r := range alerts {
		expr := r.Expr
		for _, recorded := range records {
			if strings.Contains(r.Expr, recorded.Record) {
				expr += " " + recorded.Expr
			}
		}
		for _, found := range used.FindAllStringSubmatch(expr, -1) {
			if by[found[1]] == nil {
				by[found[1]] = map[string]bool{}
			}
			by[found[1]][r.Alert] = true
		}
	}
	return by
}
