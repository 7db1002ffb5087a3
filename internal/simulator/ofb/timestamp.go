package ofb

import (
	"regexp"
	"time"
)

// layout is the one form that is not discarded since release 2025D: UTC, three
// fraction digits, Z.
const layout = "2006-01-02T15:04:05.000Z"

// lenientForm is the pattern of the open data, hybrid flow and portability models
// of version 4.0.0.
var lenientForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-][01]\d:[0-5]\d)$`)

const maxTimestamp = 28 // characters, in every model

func parseTimestamp(s []byte, lenient bool) (time.Time, bool) {
	if lenient {
		if len(s) > maxTimestamp || !lenientForm.Match(s) {
			return time.Time{}, false
		}
		t, err := time.Parse(time.RFC3339Nano, string(s))
		return t.UTC(), err == nil
	}
	// time.Parse also takes a comma before the fraction and a second digit less.
	if len(s) != len(layout) || s[19] != '.' {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, string(s))
	return t, err == nil
}

func formatTimestamp(t time.Time) string { return t.UTC().Format(layout) }

const (
	maxAge   = 7 * 24 * time.Hour // of a private report at reception
	maxAhead = 5 * time.Minute    // tolerance for clocks that run ahead
)
