package denylist

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// fold writes one character the plain way: compatibility forms resolved
// (full-width and mathematical digits), accents and invisible characters
// dropped, digits of every script, dashes and slashes as ASCII. Dropping the
// accents goes one step beyond NFKC, so that "Agência" is one word to look for.
func fold(s string, out []byte) ([]byte, int) {
	if s[0] < utf8.RuneSelf {
		return append(out, s[0]), 1
	}
	if c := unaccented(peek(s, 1)); s[0] == latin && isLetter(c) { // what Portuguese needs, without the tables
		return append(out, c), 2
	}
	n := max(1, norm.NFKD.NextBoundaryInString(s, true))
	var scratch [64]byte
	for text := norm.NFKD.AppendString(scratch[:0], s[:n]); len(text) > 0; {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			out = append(out, text[0])
		} else if r = plain(r); r >= 0 {
			out = utf8.AppendRune(out, r)
		}
		text = text[size:]
	}
	return out, n
}

// plain is the ASCII form of r where it has one, or -1 to drop it.
func plain(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return r
	case unicode.In(r, unicode.Mn, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return -1
	case unicode.Is(unicode.Nd, r):
		return '0' + digitOf(r)
	case unicode.Is(unicode.Pd, r), r == '\u2212':
		return '-'
	case unicode.Is(unicode.Z, r):
		return ' '
	case r == '\u2044', r == '\u2215', r == '\u29f8':
		return '/'
	case r == '\u3002':
		return '.'
	}
	return r
}

// digitOf is the value of a decimal digit. Unicode keeps them in blocks of
// ten, and each range of its table begins with a zero.
func digitOf(r rune) rune {
	for _, b := range unicode.Nd.R16 {
		if r <= rune(b.Hi) {
			return (r - rune(b.Lo)) % 10
		}
	}
	for _, b := range unicode.Nd.R32 {
		if r <= rune(b.Hi) {
			return (r - rune(b.Lo)) % 10
		}
	}
	return 0
}
