package denylist

import (
	"cmp"
	"slices"
	"strings"
)

// rounds bounds how often a text is rewritten. One round handles what is
// written plainly, and one each level of encoding; the rest is reserve.
const rounds = 8

const opening = "[redacted:"

func mark(k Kind) string { return opening + string(k) + "]" }

// marked says that v is nothing but a mark, so that redacting twice is
// redacting once.
func marked(v string) bool {
	return strings.HasPrefix(v, opening) && strings.IndexByte(v, ']') == len(v)-1
}

// Redact replaces each hit by its mark. What only shows after an encoding was
// undone takes the whole token with it. In JSON text a number, object or array
// is replaced by a quoted mark, so that the document stays one.
func Redact(s string) string {
	kind, ok := Find(s)
	if !ok {
		return s
	}
	for range rounds {
		f := search{all: true}
		if f.look(s, profileOf(s)); len(f.hits) == 0 {
			return s
		}
		s = replace(s, f.hits)
	}
	if _, ok := Find(s); ok {
		return mark(kind)
	}
	return s
}

// Field is value as a sink may show it under key.
func Field(key, value string) string {
	switch {
	case technicalValue(key, value):
		return value
	case Key(key):
		return mark(DeniedKey)
	default:
		return Redact(value)
	}
}

func replace(s string, hits []hit) string {
	var out strings.Builder
	first := peek(s, skipSpace(s, 0))
	done, open := 0, first != '[' && first != '{' // as if in a string: no document
	for _, h := range merge(hits) {
		open = quotes(s[done:h.from], open)
		q := quoting(s, h, open)
		out.WriteString(s[done:h.from] + q + mark(h.kind) + q)
		open = quotes(s[h.from:h.to], open)
		done = h.to
	}
	out.WriteString(s[done:])
	return out.String()
}

// quotes says whether a JSON string is open after s, if it was before.
func quotes(s string, open bool) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			open = !open
		}
	}
	return open
}

// merge sorts hits and joins those that overlap; the longer one names the kind.
func merge(hits []hit) []hit {
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.from, b.from) })
	out := hits[:1]
	for _, h := range hits[1:] {
		last := &out[len(out)-1]
		if h.from >= last.to {
			out = append(out, h)
			continue
		}
		if h.to-h.from > last.to-last.from {
			last.kind = h.kind
		}
		last.to = max(last.to, h.to)
	}
	return out
}

// quoting is what must stand around a mark that replaces a bare JSON value:
// the quote of the member's own name, backslashes included, or that of an
// element of an array, which only a document that is no string itself has.
func quoting(s string, h hit, open bool) string {
	next := peek(s, skipSpace(s, h.to))
	if next != ',' && next != '}' && next != ']' {
		return ""
	}
	i := skipSpaceBack(s, h.from)
	switch peek(s, i-1) {
	case ':':
		i = skipSpaceBack(s, i-1)
		if peek(s, i-1) == '"' {
			return s[i-1-slashesBefore(s, i-1) : i]
		}
	case '[', ',':
		if !open && isDigit(s[h.from]) {
			return `"`
		}
	}
	return ""
}

func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func skipSpaceBack(s string, i int) int {
	for i > 0 && isSpace(s[i-1]) {
		i--
	}
	return i
}

// slashesBefore counts the backslashes that stand directly before i.
func slashesBefore(s string, i int) (n int) {
	for peek(s, i-1-n) == '\\' {
		n++
	}
	return n
}
