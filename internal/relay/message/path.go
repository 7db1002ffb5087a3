package message

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Path picks one value out of a body, as Sequin's functions of type path do.
type Path []string

// ParsePath reads a dotted path.
func ParsePath(text string) (Path, error) {
	p := Path(strings.Split(text, "."))
	if roots := []string{"record", "changes", "action", "metadata"}; !slices.Contains(roots, p[0]) {
		return nil, fmt.Errorf("must begin with one of %s", strings.Join(roots, ", "))
	}
	if slices.Contains(p, "") {
		return nil, fmt.Errorf("has an empty part")
	}
	return p, nil
}

// Append appends the value at the path, spelled as in the body; null when there
// is none. Lists are not looked into.
func (p Path) Append(b, body []byte) []byte {
	in := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for _, name := range p {
		if in.PeekKind() != '{' || !enter(in, name) {
			return append(b, "null"...)
		}
	}
	value, err := in.ReadValue()
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

// enter stops in front of the value of a name.
func enter(in *jsontext.Decoder, name string) bool {
	if _, err := in.ReadToken(); err != nil {
		return false
	}
	for in.PeekKind() == '"' {
		key, err := in.ReadToken()
		if err != nil {
			return false
		}
		if key.String() == name {
			return true
		}
		if in.SkipValue() != nil {
			return false
		}
	}
	return false
}
