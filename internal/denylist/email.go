package denylist

import "strings"

// emails finds local@domain.tld. The local part reaches back to the last at
// sign at most, so every byte is looked at twice and no more.
func (f *search) emails(s string) {
	floor := 0
	for i := strings.IndexByte(s, '@'); i >= 0 && !f.done(); i = indexFrom(s, '@', i+1) {
		from, to := localStart(s, i, floor), domainEnd(s, i+1)
		if from < i && isDomain(s[i+1:to]) {
			f.add(from, to, Email)
		}
		floor = i + 1
	}
}

func indexFrom(s string, c byte, from int) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return -1
}

func localStart(s string, at, floor int) int {
	i := at
	for i > floor && inLocal(s, i-1) {
		i--
	}
	if peek(s, i-1) == '\\' { // the n of \n and the u00e9 of \u00e9 are no part of a name
		if i++; s[i-1] == 'u' {
			i += 4
		}
	}
	for i < at && (s[i] == '.' || s[i] == '-' || s[i] == '\'') {
		i++
	}
	return min(i, at)
}

// inLocal takes less than RFC 5322 does: slash, equals and the like join an
// address to what stands before it far more often than they belong to it.
func inLocal(s string, i int) bool {
	switch c := s[i]; c {
	case '.', '_', '%', '+', '-':
		return true
	case '\'':
		return isAlnum(peek(s, i-1)) && isAlnum(peek(s, i+1)) // o'neill, but not 'maria
	default:
		return isAlnum(c) || c >= 0x80
	}
}

func domainEnd(s string, i int) int {
	for i < len(s) && (isAlnum(s[i]) || s[i] == '.' || s[i] == '-' || s[i] >= 0x80) {
		i++
	}
	for i > 0 && (s[i-1] == '.' || s[i-1] == '-') {
		i--
	}
	return i
}

// isDomain wants a dot and a last label of two or more letters, so
// pkg@v1.2.3 and image@sha256 miss; so does v1.2.3-alpha.
func isDomain(d string) bool {
	i := strings.LastIndexByte(d, '.')
	if i < 1 || len(d)-i < 3 || len(d) > 1 && d[0]|0x20 == 'v' && isDigit(d[1]) && isDigit(peek(d, strings.IndexByte(d, '.')+1)) {
		return false
	}
	for _, c := range []byte(d[i+1:]) {
		if !isAlnum(c) && c != '-' && c < 0x80 {
			return false
		}
	}
	return isLetter(d[i+1]) || d[i+1] >= 0x80
}
