package message

import "bytes"

// appendArray turns {a,"b c",NULL} into [..]. Braces nest as brackets do.
func appendArray(b, text []byte, element Encoder) []byte {
	if len(text) > 0 && text[0] == '[' { // bounds that do not start at 1: [0:1]={..}
		_, text, _ = bytes.Cut(text, []byte("="))
	}
	var unquoted []byte
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '{':
			b = append(b, '[')
			i++
		case '}':
			b = append(b, ']')
			i++
		case ',':
			b = append(b, ',')
			i++
		case '"':
			unquoted, i = unquote(unquoted[:0], text, i+1)
			b = element(b, unquoted)
		default:
			end := i
			for end < len(text) && text[end] != ',' && text[end] != '}' {
				end++
			}
			if bytes.Equal(text[i:end], []byte("NULL")) {
				b = append(b, "null"...)
			} else {
				b = element(b, text[i:end])
			}
			i = end
		}
	}
	return b
}

// unquote reads an element up to its closing quote and gives the place behind it.
func unquote(b, text []byte, i int) ([]byte, int) {
	for ; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b, i + 1
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b = append(b, text[i])
	}
	return b, i
}
