package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// unpacked is where .ci/deps-test puts promtool.
const unpacked = "../.tools/alerts/usr/bin/promtool"

const (
	rulesFile = "alerts/transport.rules.yaml"
	testsFile = "alerts/transport.test.yaml"
)

type ruleFile struct {
	Groups []group `yaml:"groups"`
}

type group struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval"`
	Rules    []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         *string           `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// name is what tells a rule from the others of its alert.
func (r rule) name() string {
	return r.Alert + " " + r.Labels["why"] + " " + r.Labels["severity"]
}

type testFile struct {
	RuleFiles          []string    `yaml:"rule_files"`
	EvaluationInterval string      `yaml:"evaluation_interval"`
	Tests              []alertTest `yaml:"tests"`
}

type alertTest struct {
	Name     string      `yaml:"name"`
	Interval string      `yaml:"interval"`
	Series   []series    `yaml:"input_series,omitempty"`
	Checks   []alertSeen `yaml:"alert_rule_test"`
}

type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertSeen struct {
	At    string      `yaml:"eval_time"`
	Alert string      `yaml:"alertname"`
	Want  []alertWant `yaml:"exp_alerts"`
}

type alertWant struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// rules are the rules that alert, and those that record for them.
func rules(t *testing.T) (alerts, records []rule, of group) {
	t.Helper()
	var file ruleFile
	load(t, rulesFile, &file)
	if len(file.Groups) != 1 {
		t.Fatalf("%s: got %d groups, want one", rulesFile, len(file.Groups))
	}
	for _, r := range file.Groups[0].Rules {
		if r.Record != "" {
			records = append(records, r)
		} else {
			alerts = append(alerts, r)
		}
	}
	return alerts, records, file.Groups[0]
}

// promtool runs it. What is missing is a failure: rules that nobody has run prove
// nothing.
func promtool(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	program, err := filepath.Abs(unpacked)
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		if program, err = exec.LookPath("promtool"); err != nil {
			t.Fatalf("there is no promtool in %s and none in PATH: run .ci/deps-test", unpacked)
		}
	}
	text, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(text), err
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", testsFile}} {
		if out, err := promtool(t, args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// expects reports whether a check wants a rule to fire.
func (c alertSeen) expects(r rule) bool {
	return c.Alert == r.Alert && slices.ContainsFunc(c.Want, func(w alertWant) bool {
		return w.Labels["why"] == r.Labels["why"] && w.Labels["severity"] == r.Labels["severity"]
	})
}

// TestEveryAlertIsTested: promtool compares all that fire, so a rule that somewhere
// must fire and somewhere must not can be neither dead nor always on.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	alerts, _, _ := rules(t)
	for _, r := range alerts {
		fires, silent := false, false
		for _, test := range tests(t).Tests {
			for _, c := range test.Checks {
				fires = fires || c.expects(r)
				silent = silent || c.Alert == r.Alert && !c.expects(r)
			}
		}
		if !fires || !silent && r.Alert != "Watchdog" {
			t.Errorf("%s: a test wants it to fire: %v, not to fire: %v", r.name(), fires, silent)
		}
	}
}

// later is a time for which an alert must hold, and two minutes more.
var later = map[string]string{"0s": "2m", "1m": "3m", "2m": "4m", "5m": "7m", "10m": "12m", "2h": "122m", "7h": "422m"}

// TestAlertsThatComeLateAreNoticed delays every rule, and wants a test of each to
// fail.
func TestAlertsThatComeLateAreNoticed(t *testing.T) {
	t.Parallel()
	alerts, records, of := rules(t)
	of.Rules = slices.Clone(records)
	for _, r := range alerts {
		late, ok := later[*r.For]
		if !ok {
			t.Fatalf("%s: this test does not know what is later than %s", r.name(), *r.For)
		}
		r.For = &late
		of.Rules = append(of.Rules, r)
	}
	out, err := promtool(t, "test", "rules", written(t, of, testsThatFire(t)))
	if err == nil {
		t.Fatalf("no test fails\n%s", out)
	}
	missed := regexp.MustCompile(`(?s)exp:\[(.*?)got:`).FindAllString(out, -1)
	for _, r := range alerts {
		labels := regexp.MustCompile(`alertname="` + r.Alert + `".*severity="` + r.Labels["severity"] + `".*why="` + r.Labels["why"] + `"`)
		if r.Alert != "Watchdog" && !slices.ContainsFunc(missed, labels.MatchString) { // which has none here: it fires at any time
			t.Errorf("%s: two minutes later is as good to its tests", r.name())
		}
	}
}

func tests(t *testing.T) (file testFile) {
	t.Helper()
	load(t, testsFile, &file)
	return file
}

// testsThatFire leaves out what wants nothing.
func testsThatFire(t *testing.T) testFile {
	t.Helper()
	file := tests(t)
	for i, test := range file.Tests {
		file.Tests[i].Checks = slices.DeleteFunc(test.Checks, func(c alertSeen) bool { return len(c.Want) == 0 || c.Alert == "Watchdog" })
	}
	file.Tests = slices.DeleteFunc(file.Tests, func(test alertTest) bool { return len(test.Checks) == 0 })
	return file
}

// written puts rules and their tests into files of their own.
func written(t *testing.T, of group, tests testFile) (path string) {
	t.Helper()
	dir := t.TempDir()
	tests.RuleFiles = []string{"rules.yaml"}
	for name, content := range map[string]any{"rules.yaml": ruleFile{[]group{of}}, "test.yaml": tests} {
		text, err := yaml.Marshal(content)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "test.yaml")
}

// wanted is every alert of the transport and how urgent it may be.
var wanted = map[string][]string{
	"CanaryStale": {"page"}, "OutboxGap": {"page"}, "BooksDifference": {"page"}, "SlotInactive": {"page"}, "SlotWal": {"page"}, "PartitionsAhead": {"page"},
	"StandbySlotNotReady": {"ticket"}, "LongTransaction": {"ticket"}, "StreamNearLimit": {"ticket", "page"}, "Watchdog": {"page"},
}

// TestAlertsSayWhatTheyMust: who is called, how urgently, and what to read.
func TestAlertsSayWhatTheyMust(t *testing.T) {
	t.Parallel()
	alerts, _, of := rules(t)
	if of.Interval != "30s" {
		t.Errorf("the group is evaluated every %s; the share of time that a heartbeat is late is counted in 30s", of.Interval)
	}
	seen, names := map[string]map[string]bool{}, map[string]bool{}
	for _, r := range alerts {
		if names[r.name()] {
			t.Errorf("two rules are %s: an Alertmanager would take them for one", r.name())
		}
		names[r.name()] = true
		if seen[r.Alert] == nil {
			seen[r.Alert] = map[string]bool{}
		}
		seen[r.Alert][r.Labels["severity"]] = true
		if r.For == nil || r.Labels["owner"] == "" || r.Labels["why"] == "" || r.Annotations["summary"] == "" || r.Annotations["runbook_url"] == "" {
			t.Errorf("%s: want for, owner, why, summary and runbook_url", r.name())
		}
	}
	for alert, severities := range wanted {
		for _, severity := range severities {
			if !seen[alert][severity] {
				t.Errorf("%s never asks for a %s", alert, severity)
			}
		}
		if len(seen[alert]) != len(severities) {
			t.Errorf("%s: got %v, want %v", alert, seen[alert], severities)
		}
		delete(seen, alert)
	}
	for alert := range seen {
		t.Errorf("%s is not in the list of this test", alert)
	}
}

const runbooks = "https://github.com/finnest/event-runtime/blob/main/docs/runbooks/"

// TestEveryAlertHasARunbook, and every runbook an alert that points to it and is
// named in it.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	alerts, _, _ := rules(t)
	pointed := map[string]bool{}
	for _, r := range alerts {
		name, ours := strings.CutPrefix(r.Annotations["runbook_url"], runbooks)
		text, err := os.ReadFile(filepath.Join("../docs/runbooks", name))
		if !ours || err != nil {
			t.Errorf("%s points to %s: %v", r.name(), r.Annotations["runbook_url"], err)
			continue
		}
		pointed[name] = true
		if want := regexp.MustCompile("`" + r.Alert + "`.*`" + r.Labels["why"] + "`"); !want.Match(text) {
			t.Errorf("docs/runbooks/%s does not say what `%s` with why `%s` means", name, r.Alert, r.Labels["why"])
		}
	}
	for _, name := range runbookNames(t) {
		if !pointed[filepath.Base(name)] {
			t.Errorf("no alert points to %s", name)
		}
	}
}

func runbookNames(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../docs/runbooks/*.md")
	if err != nil || len(all) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	return all
}
