package event

import (
	"bytes"
	"math"
	"strconv"
)

const (
	maxDepth   = 64
	maxMessage = 512 << 10      // max_msg_size of the streams
	maxPayload = 256 << 10      // the CHECK of outbox.payload
	maxRaw     = 8 * maxPayload // six bytes may spell one, as in \u0061
	maxSafe    = 1 << 53
	maxExact   = "9007199254740992" // maxSafe as text
)

// tooDeep reports JSON nested beyond maxDepth without parsing it, so that a
// hostile document costs one pass over its bytes.
func tooDeep(doc []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// unstorable finds what Postgres or RFC 8785 cannot hold in valid JSON: a NUL
// character, or an integer that float64 would change. The result is a byte
// position, or -1.
func unstorable(doc []byte) int {
	inString := false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			if bytes.HasPrefix(doc[i+1:], []byte("u0000")) {
				return i
			}
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '-' || '0' <= c && c <= '9':
			end := numberEnd(doc, i)
			if inexact(doc[i:end]) {
				return i
			}
			i = end - 1
		}
	}
	return -1
}

// textSize is how many bytes Postgres makes of a document in RFC 8785 form, which
// its CHECK counts: it puts a space behind commas and colons, and writes numbers
// without an exponent.
func textSize(doc []byte) int {
	size, inString := len(doc), false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == ',' || c == ':':
			size++
		case c == '-' || '0' <= c && c <= '9':
			end := numberEnd(doc, i)
			size += written(doc[i:end]) - (end - i)
			i = end - 1
		}
	}
	return size
}

// written is the length of a number without its exponent: 1.5e-7 is 0.00000015.
// Large numbers have none, because integers beyond 2^53 are refused.
func written(number []byte) int {
	mantissa, exponent, ok := bytes.Cut(number, []byte("e-"))
	zeros, err := strconv.Atoi(string(exponent))
	if !ok || err != nil {
		return len(number)
	}
	return len(mantissa) - bytes.Count(mantissa, []byte(".")) + 1 + zeros
}

// numberEnd is where the number ends that begins at i.
func numberEnd(doc []byte, i int) int {
	for i++; i < len(doc) && isNumber(doc[i]); i++ {
	}
	return i
}

func isNumber(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// inexact reports an integer beyond ±2^53, however it is spelt: it comes back
// from Postgres without its exponent. Fractions are float64 by contract.
func inexact(number []byte) bool {
	if bytes.ContainsAny(number, ".eE") {
		f, err := strconv.ParseFloat(string(number), 64)
		return err != nil || math.Abs(f) > maxSafe
	}
	number = bytes.TrimPrefix(number, []byte("-"))
	return len(number) > len(maxExact) || len(number) == len(maxExact) && string(number) > maxExact
}
