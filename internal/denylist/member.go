package denylist

import "strings"

// members finds the values of denied keys in JSON text. It reads no grammar,
// only `"name":` and what follows, so that it also works on a document that
// was cut, or that stands inside a string with its quotes escaped, at any depth.
func (f *search) members(s string) {
	for i := strings.IndexByte(s, '"'); i >= 0 && !f.done(); i = indexFrom(s, '"', i) {
		colon := skipSpace(s, i+1)
		depth := slashesBefore(s, i)
		if peek(s, colon) != ':' || !Key(memberName(s, i-depth)) {
			i++
			continue
		}
		from, to := memberValue(s, skipSpace(s, colon+1), depth)
		if from < to && carries(s[from:to]) {
			f.add(from, to, DeniedKey)
		}
		i = max(to, colon)
	}
}

// memberName reads back from the end of a name to its opening quote.
func memberName(s string, end int) string {
	const longest = 64
	from := end
	for from > 0 && end-from < longest && s[from-1] != '"' {
		from--
	}
	if peek(s, from-1) != '"' {
		return ""
	}
	return s[from:end]
}

// carries says that a value tells something: absence and flags do not.
func carries(v string) bool {
	switch v {
	case "", "null", "true", "false", "[]", "{}":
		return false
	}
	return !marked(v) && !marked(strings.Trim(v, `\"`))
}

// memberValue is the content of a string, without its quotes, or the whole of
// any other value. depth is the number of backslashes before each quote.
func memberValue(s string, i, depth int) (from, to int) {
	if q := i + depth; peek(s, q) == '"' && slashesBefore(s, q) == depth {
		return q + 1, stringEnd(s, q+1, depth)
	}
	if c := peek(s, i); c == '{' || c == '[' {
		return i, nestedEnd(s, i, depth)
	}
	to = i
	for to < len(s) && !isSpace(s[to]) && strings.IndexByte(`,}]"\`, s[to]) < 0 {
		to++
	}
	return i, to
}

// stringEnd is where the closing quote of a string begins. At nesting level n
// a quote carries 2^n-1 backslashes; those of the content come in multiples of
// twice one more.
func stringEnd(s string, i, depth int) int {
	for q := indexFrom(s, '"', i); q >= 0; q = indexFrom(s, '"', q+1) {
		if n := min(slashesBefore(s, q), q-i); n%(2*depth+2) == depth {
			return q - depth
		}
	}
	return len(s)
}

// nestedEnd is the end of the object or array that begins at i.
func nestedEnd(s string, i, depth int) int {
	open := 0
	for i < len(s) {
		switch s[i] {
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				return i + 1
			}
		case '"':
			i = min(len(s), stringEnd(s, i+1, depth)+depth)
		}
		i++
	}
	return len(s)
}
