package denylist

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape undoes one escape of a JSON string, and \xNN, which Go, Python and
// our own Clean write. What it does not know stays as it is.
func unescape(s string, out []byte) ([]byte, int) {
	if s[0] != '\\' || len(s) < 2 {
		return append(out, s[0]), 1
	}
	switch s[1] {
	case '"', '\\', '/', '\'':
		return append(out, s[1]), 2
	case 'b', 'f', 'n', 'r', 't':
		return append(out, '\n'), 2
	case 'x':
		if c, ok := hexAt(s, 2, 2); ok {
			return append(out, byte(c)), 4
		}
	case 'u':
		if c, ok := hexAt(s, 2, 4); ok {
			return unescapeRune(rune(c), s, out)
		}
	}
	return append(out, s[0]), 1
}

func unescapeRune(r rune, s string, out []byte) ([]byte, int) {
	if utf16.IsSurrogate(r) && peek(s, 6) == '\\' && peek(s, 7) == 'u' {
		if low, ok := hexAt(s, 8, 4); ok {
			if pair := utf16.DecodeRune(r, rune(low)); pair != utf8.RuneError {
				return utf8.AppendRune(out, pair), 12
			}
		}
	}
	return utf8.AppendRune(out, r), 6
}

// unquote undoes one percent escape of a URL or form, and the plus that stands
// for a space there. Plus signs that mean themselves were seen a layer before.
func unquote(s string, out []byte) ([]byte, int) {
	switch s[0] {
	case '+':
		return append(out, ' '), 1
	case '%':
		if c, ok := hexAt(s, 1, 2); ok {
			return append(out, byte(c)), 3
		}
	}
	return append(out, s[0]), 1
}

// hexAt reads n hexadecimal digits at i.
func hexAt(s string, i, n int) (uint64, bool) {
	if i+n > len(s) || !isHex(s[i:i+n]) {
		return 0, false
	}
	c, err := strconv.ParseUint(s[i:i+n], 16, 32)
	return c, err == nil
}
