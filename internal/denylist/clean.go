package denylist

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean is Redact for one log line: line breaks, terminal sequences and other
// characters that steer instead of show are written as escapes. A backslash
// stays one backslash, so that cleaning twice is cleaning once.
func Clean(s string) string {
	s = Redact(s)
	if visible(s) {
		return s
	}
	// An escape is letters and digits where there were none before, so it is
	// looked at once more; the second look can only add marks.
	return Redact(escape(s))
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return !strings.ContainsFunc(s, steers)
		}
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// steers names what a reader would not see but a terminal or an editor obeys:
// controls, bidirectional marks, zero-width characters, separators of lines.
// Invalid UTF-8 arrives here as RuneError.
func steers(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError
}

func escape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case !steers(r):
			out.WriteString(s[i : i+size])
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r < utf8.RuneSelf || size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		i += size
	}
	return out.String()
}
