// Package fault says what must happen after a failure.
//
// Promise: a failure nobody has thought about is retried, never dropped.
// State:   none.
// Failure: From cannot fail; an error without a class is Transient.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Class says what must happen next.
type Class int

// The zero value is Transient, so that an unforeseen failure is tried again.
const (
	Transient Class = iota // may pass: try again later
	Permanent              // understood and refused: record it, do not ask again
	Poison                 // unreadable: set aside for a person
)

func (c Class) String() string {
	switch c {
	case Permanent:
		return "permanent"
	case Poison:
		return "poison"
	default:
		return "transient"
	}
}

// Error is a failure together with the decision it asks for.
type Error struct {
	Class Class
	Code  string        // snake_case and constant: also the metric label and the log field
	After time.Duration // the delay the other side asked for, if it did
	Err   error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return fmt.Sprintf("%s: %v", e.Code, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// From finds the decision carried by err. An error that carries none is
// Transient with the code "unknown".
func From(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Class: Transient, Code: "unknown", Err: err}
}
