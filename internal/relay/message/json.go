package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// appendJSON writes a document that Postgres printed: without the spaces between
// tokens, numbers as Elixir would write them, everything else as it is. What is
// not JSON comes out as something else that is not JSON.
func appendJSON(b, text []byte) []byte {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end := endOfString(text, i)
			b = append(b, text[i:end]...)
			i = end
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			i++
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(text) && inNumber(text[end]) {
				end++
			}
			b = appendNumber(b, text[i:end])
			i = end
		default:
			b = append(b, c)
			i++
		}
	}
	return b
}

// endOfString gives the place behind the closing quote of the string that opens
// at i.
func endOfString(text []byte, i int) int {
	for at := i + 1; ; {
		quote := bytes.IndexByte(text[at:], '"')
		if quote < 0 {
			return len(text)
		}
		quote += at
		escapes := 0
		for text[quote-1-escapes] == '\\' { // ends at the opening quote
			escapes++
		}
		at = quote + 1
		if escapes%2 == 0 {
			return at
		}
	}
}

func inNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// appendLooseJSON is appendJSON for what no jsonb has tidied: of keys that occur
// twice the last one counts. Readers of ours refuse a message with such keys.
func appendLooseJSON(b, text []byte) []byte {
	if tidy, ok := Normalize(text); ok {
		return append(b, tidy...)
	}
	return appendJSON(b, text)
}

// Normalize gives a JSON text as messages carry it; not ok when it is none.
func Normalize(text []byte) (value []byte, ok bool) {
	var v any
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if !utf8.Valid(text) || in.Decode(&v) != nil || !errors.Is(in.Decode(new(any)), io.EOF) {
		return nil, false
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return nil, false
	}
	return appendJSON(make([]byte, 0, out.Len()), out.Bytes()), true
}
