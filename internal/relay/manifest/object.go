package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// reader gathers what is wrong, so that a file is corrected in one go.
type reader struct{ faults []error }

func (r *reader) fault(path, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// object is one mapping of the file, and where it stands.
type object struct {
	r      *reader
	path   string
	fields map[string]any
}

func (o object) fault(key, format string, args ...any) {
	o.r.fault(join(o.path, key), format, args...)
}

// only refuses every key that is not among known.
func (o object) only(known ...string) {
	for _, key := range slices.Sorted(maps.Keys(o.fields)) {
		if !slices.Contains(known, key) {
			o.fault(key, "unknown field; known here: %s", strings.Join(known, ", "))
		}
	}
}

// each reads every element of a list of mappings.
func each[T any](o object, key string, read func(object) T) []T {
	items, ok := o.fields[key].([]any)
	if !ok {
		if o.fields[key] != nil {
			o.fault(key, "must be a list")
		}
		return nil
	}
	var all []T
	for i, item := range items {
		path := fmt.Sprintf("%s[%d]", join(o.path, key), i)
		fields, ok := item.(map[string]any)
		if !ok {
			o.r.fault(path, "must be a mapping")
			continue
		}
		all = append(all, read(object{r: o.r, path: path, fields: fields}))
	}
	return all
}

// object gives a mapping within; an empty one when it is missing.
func (o object) object(key string) object {
	inner := object{r: o.r, path: join(o.path, key)}
	switch v := o.fields[key].(type) {
	case map[string]any:
		inner.fields = v
	case nil:
	default:
		o.fault(key, "must be a mapping")
	}
	return inner
}

// text reads a string, or a number where one was written without quotes.
func (o object) text(key, otherwise string) string {
	switch v := o.fields[key].(type) {
	case string:
		return v
	case int, float64:
		return fmt.Sprint(v)
	case nil:
		return otherwise
	default:
		o.fault(key, "must be a string")
		return otherwise
	}
}

// required is text that must not be blank. A variable that is not set is blank.
func (o object) required(key string) string {
	v := o.text(key, "")
	if strings.TrimSpace(v) == "" {
		o.fault(key, "can't be blank; if it holds a variable, set it")
	}
	return v
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (o object) name() string {
	v := o.required("name")
	if v != "" && !nameForm.MatchString(v) {
		o.fault("name", "may hold letters, digits, _ . and - only")
	}
	return v
}

// one reads a word out of a closed set.
func (o object) one(key, otherwise string, of ...string) string {
	v := o.text(key, otherwise)
	if !slices.Contains(of, v) {
		o.fault(key, "must be one of %s", strings.Join(of, ", "))
	}
	return v
}

// function reads the name of a function; none, null and nil mean that there is none.
func (o object) function(key string) string {
	switch v := o.text(key, ""); v {
	case "none", "null", "nil":
		return ""
	default:
		return v
	}
}
