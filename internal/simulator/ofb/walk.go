package ofb

import (
	"bytes"
	"encoding/json"
)

// kind is the JSON type of a value.
type kind uint8

const (
	absent kind = iota
	null
	boolean
	number
	text
	array
	object
)

// String is the name the platform's validator uses in its messages.
func (k kind) String() string {
	return [...]string{"undefined", "null", "boolean", "number", "string", "array", "object"}[k]
}

// value is a slice of a document that json.Valid has accepted. All functions of
// this file rely on that: they find ends and judge nothing.
type value struct {
	raw  []byte
	kind kind
}

// first is the value that begins at or after the spaces of b, with what follows it.
func first(b []byte) (value, []byte) {
	b = bytes.TrimLeft(b, " \t\r\n")
	end := extent(b)
	return value{raw: b[:end], kind: kindOf(b[0])}, bytes.TrimLeft(b[end:], " \t\r\n")
}

func kindOf(start byte) kind {
	switch start {
	case '{':
		return object
	case '[':
		return array
	case '"':
		return text
	case 't', 'f':
		return boolean
	case 'n':
		return null
	default:
		return number
	}
}

// extent is the length of the value at the start of b.
func extent(b []byte) int {
	switch b[0] {
	case '"':
		return stringExtent(b)
	case '{', '[':
		return nestedExtent(b)
	}
	if end := bytes.IndexAny(b, ",]} \t\r\n"); end >= 0 {
		return end
	}
	return len(b)
}

func stringExtent(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

func nestedExtent(b []byte) int {
	for i, depth := 0, 0; ; i++ {
		switch b[i] {
		case '"':
			i += stringExtent(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// elements calls f with each element of an array, until f says no.
func (v value) elements(f func(value) bool) {
	rest := bytes.TrimLeft(v.raw[1:], " \t\r\n")
	for rest[0] != ']' {
		var e value
		if e, rest = first(rest); !f(e) {
			return
		}
		if rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		}
	}
}

// members calls f with each member of an object. A repeated name comes again, and
// whoever keeps the last one does as JSON.parse does.
func (v value) members(f func(name []byte, v value)) {
	rest := bytes.TrimLeft(v.raw[1:], " \t\r\n")
	for rest[0] != '}' {
		var name, member value
		name, rest = first(rest)
		member, rest = first(rest[1:]) // after the colon
		f(name.text(), member)
		if rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		}
	}
}

// text is the content of a string; it is a part of the document where nothing is escaped.
func (v value) text() []byte {
	plain := v.raw[1 : len(v.raw)-1]
	for _, c := range plain {
		if c == '\\' || c >= 0x80 {
			var s string
			if json.Unmarshal(v.raw, &s) != nil {
				return nil
			}
			return []byte(s)
		}
	}
	return plain
}
