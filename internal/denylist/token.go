package denylist

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const (
	shortestHeader = 16      // {"alg":"A"} in base64url has 15 and is nobody's token
	longestHeader  = 8 << 10 // longer headers are judged by their beginning
	shortestBearer = 8
)

// tokens finds JWTs: dotted parts of base64url of which the first decodes to a
// JSON object. Two parts are enough when the second is an object too, as in a
// token that was cut: its claims are what must not be shown.
func (f *search) tokens(s string) {
	for i := 0; i < len(s) && !f.done(); i++ {
		if !inToken(s[i]) {
			continue
		}
		end := tokenEnd(s, i)
		start := headerStart(s, i, end)
		to := end
		if start >= 0 && isHeader(s[start:end]) {
			n := 1
			for ; peek(s, to) == '.'; n++ {
				to = tokenEnd(s, to+1)
			}
			if n > 2 || n == 2 && isHeader(s[end+1:to]) {
				f.add(start, to, JWT)
			}
		}
		i = to
	}
}

// headerStart is where a part that ends at end could begin to be a header: at
// its own start, or after a prefix such as "jwt_" or "token-".
func headerStart(s string, i, end int) int {
	if s[i] == 'e' {
		return i
	}
	if k := strings.Index(s[i:end], "eyJ"); k > 0 && !isAlnum(s[i+k-1]) {
		return i + k
	}
	return -1
}

func inToken(c byte) bool { return isAlnum(c) || c == '_' || c == '-' }

func tokenEnd(s string, i int) int {
	for i < len(s) && inToken(s[i]) {
		i++
	}
	return i
}

// isHeader says that part is a JSON object in base64url. Every object begins
// with an open brace, so every header begins with e and one of a few others;
// most words are refused there.
func isHeader(part string) bool {
	if len(part) < shortestHeader || part[0] != 'e' || !strings.ContainsRune("wxyz0123456789-_", rune(part[1])) {
		return false
	}
	if len(part) > longestHeader {
		text, err := base64.RawURLEncoding.DecodeString(part[:64])
		return err == nil && strings.HasPrefix(strings.TrimLeft(string(text[1:]), " \t\r\n"), `"`)
	}
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Valid(text)
}

// credentials finds "Bearer <token>" and "Basic <credentials>" in any case.
func (f *search) credentials(s string) {
	for i := 5; i < len(s) && !f.done(); i++ {
		if s[i] != ' ' && s[i] != '\t' || isSpace(peek(s, i+1)) {
			continue
		}
		var kind Kind
		switch {
		case i >= 6 && same(s[i-6:i], "bearer") && !isAlnum(peek(s, i-7)):
			kind = Bearer
		case same(s[i-5:i], "basic") && !isAlnum(peek(s, i-6)):
			kind = Secret
		default:
			continue
		}
		from := i + 1
		to := credentialEnd(s, from)
		if kind == Bearer && random(s[from:to]) || kind == Secret && isBasic(s[from:to]) {
			f.add(from, to, kind)
		}
		i = max(i, to-1)
	}
}

func credentialEnd(s string, i int) int {
	for i < len(s) && (inToken(s[i]) || s[i] == '.' || s[i] == '~' || s[i] == '+' || s[i] == '/') {
		i++
	}
	for i < len(s) && s[i] == '=' {
		i++
	}
	return i
}

// random says that v was made by a machine: long enough, with a digit and a
// letter, or long and in both cases. Prose after "bearer" is neither.
func random(v string) bool {
	var digit, upper, lower bool
	for i := range len(v) {
		switch c := v[i]; {
		case isDigit(c):
			digit = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		}
	}
	return len(v) >= shortestBearer && digit && (upper || lower) || len(v) >= 20 && upper && lower
}

// isBasic says that v decodes to text with a colon; "basic plan" does not.
func isBasic(v string) bool {
	var buf [192]byte
	text, ok := decode(strings.TrimRight(v, "="), buf[:0])
	return ok && len(text) > 2 && utf8.Valid(text) && bytes.IndexByte(text, ':') > 0
}
