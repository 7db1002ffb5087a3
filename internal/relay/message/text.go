package message

import "bytes"

const hex = "0123456789ABCDEF"

// appendString writes a JSON string as Elixir's Jason does: the quote, the
// backslash and control characters are escaped, nothing else (no HTML, no
// U+2028, not DEL).
func appendString(b, text []byte) []byte {
	b = append(b, '"')
	start := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[start:i]...)
		b = appendEscape(b, c)
		start = i + 1
	}
	b = append(b, text[start:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\t':
		return append(b, `\t`...)
	case '\n':
		return append(b, `\n`...)
	case '\f':
		return append(b, `\f`...)
	case '\r':
		return append(b, `\r`...)
	default:
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

func appendText(b []byte, text string) []byte { return appendString(b, []byte(text)) }

// appendVerbatim writes what is JSON already: integers.
func appendVerbatim(b, text []byte) []byte { return append(b, text...) }

// appendBool reads Postgres's t and f.
func appendBool(b, text []byte) []byte {
	if bytes.Equal(text, []byte("t")) {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}
