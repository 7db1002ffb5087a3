package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

// Whoever knew decided; words that were added on the way change nothing.
func TestFromFindsTheDecision(t *testing.T) {
	t.Parallel()
	known := &Error{Class: Permanent, Code: "bad_request", After: time.Minute, Err: io.EOF}
	for name, tc := range map[string]struct {
		err  error
		want Error
	}{
		"itself":              {known, *known},
		"with words":          {fmt.Errorf("seal batch 7: %w", fmt.Errorf("read: %w", known)), *known},
		"among others":        {errors.Join(io.ErrUnexpectedEOF, known), *known},
		"the outer one wins":  {&Error{Class: Poison, Code: "unreadable", Err: known}, Error{Class: Poison, Code: "unreadable", Err: known}},
		"one without a class": {&Error{Code: "timeout"}, Error{Class: Transient, Code: "timeout"}},
		"nobody thought of":   {io.EOF, Error{Class: Transient, Code: "unknown", Err: io.EOF}},
	} {
		got := From(tc.err)
		if got.Class != tc.want.Class || got.Code != tc.want.Code || got.After != tc.want.After || !errors.Is(got.Err, tc.want.Err) {
			t.Errorf("%s: got %+v, want %+v", name, *got, tc.want)
		}
	}
}

func TestTheCauseStaysVisible(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("persist: %w", &Error{Class: Transient, Code: "database_away", Err: io.EOF})
	if !errors.Is(err, io.EOF) || err.Error() != "persist: database_away: EOF" {
		t.Errorf("got %v", err)
	}
	if got := (&Error{Code: "database_away"}).Error(); got != "database_away" {
		t.Errorf("without a cause: got %q", got)
	}
}

// What is not known is retried, never dropped.
func TestClassesByName(t *testing.T) {
	t.Parallel()
	for class, want := range map[Class]string{Transient: "transient", Permanent: "permanent", Poison: "poison", Class(99): "transient"} {
		if got := class.String(); got != want {
			t.Errorf("class %d: got %s, want %s", int(class), got, want)
		}
	}
}
