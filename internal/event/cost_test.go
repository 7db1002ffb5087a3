package event

import (
	"runtime"
	"strings"
	"testing"
)

// A hostile document is refused before anything is built of it.
func TestHostileDocumentsCostLittle(t *testing.T) { // not parallel: it counts what the process allocates
	for name, body := range map[string]string{
		"10 MB":                           `{"record":"` + strings.Repeat("x", 10<<20) + `"}`,
		"depth without end":               strings.Repeat(`{"a":`, 100<<10),
		"brackets without end":            strings.Repeat("[", 500<<10),
		"half a million commas":           `{"record":[` + strings.Repeat(",", 500<<10),
		"a string that is never closed":   `{"record":{"source":"` + strings.Repeat("x", 500<<10),
		"a number of half a million ones": `{"record":{"version":` + strings.Repeat("1", 500<<10) + `}}`,
	} {
		var before, after runtime.MemStats
		given := []byte(body)
		runtime.ReadMemStats(&before)
		_, err := Decode(given)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 2<<20 {
			t.Errorf("%s: got %v and %d bytes allocated, want a refusal for 2 MiB at most", name, err, got)
		}
	}
}
