package routers

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var fenced = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// What the README shows for a router is what is tested here, line by line.
func TestTheReadmeShowsWhatWorks(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, router := range []string{"chi", "gin"} {
		source, err := os.ReadFile(router + "_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fenced.FindAllStringSubmatch(string(readme), -1) {
			if !strings.Contains(block[1], router+".New") {
				continue
			}
			shown++
			for line := range strings.Lines(block[1]) {
				if line = strings.TrimSpace(line); !strings.Contains(string(source), "\t"+line+"\n") {
					t.Errorf("%s_test.go has no line %q, which the README shows", router, line)
				}
			}
		}
	}
	if shown != 2 {
		t.Errorf("got %d blocks about routers, want 2", shown)
	}
}
