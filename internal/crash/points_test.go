package crash

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var used = regexp.MustCompile(`crash\.(?:Point|Bytes)\("([a-z0-9_]+)"`)

func TestPlacesAreThePointsInTheCode(t *testing.T) {
	t.Parallel()
	var inCode []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range used.FindAllStringSubmatch(string(source), -1) {
			inCode = append(inCode, found[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, p := range Places() {
		listed = append(listed, p.Name)
	}
	slices.Sort(inCode)
	slices.Sort(listed)
	if twice := slices.Compact(slices.Clone(inCode)); len(twice) != len(inCode) {
		t.Errorf("a point stands in two places: %v", inCode)
	}
	if !slices.Equal(inCode, listed) {
		t.Errorf("in code %v\nlisted  %v", inCode, listed)
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]*plan{
		"seal":       {name: "seal", nth: 1},
		"seal:3":     {name: "seal", nth: 3},
		"bytes:4096": {name: "bytes", nth: 4096},
	} {
		if got := parse(spec, "m"); got.name != want.name || got.nth != want.nth || got.marker != "m" {
			t.Errorf("%q: got %s:%d", spec, got.name, got.nth)
		}
	}
	if parse("", "") != nil {
		t.Error("armed without a name")
	}
}
