package denylist

import (
	"strings"
	"unicode/utf8"
)

// shortestBase64 is one less than the sixteen characters of eleven encoded
// bytes (a bare CPF): the last of them may be a padding that was left out.
const shortestBase64 = 15

// revealAll decodes each run of base64 characters, in either alphabet, with or
// without padding, and looks into the text that comes out. The characters that
// differ between the alphabets also join names (user_id-..., a/b/...), so the
// parts between them are tried as well.
func (f *search) revealAll(s string) {
	for i := 0; i < len(s) && !f.done(); i++ {
		from := i
		var signs trait
		for i < len(s) && traits[s[i]]&base != 0 {
			signs |= traits[s[i]]
			i++
		}
		if i-from >= shortestBase64 {
			f.revealRun(s, from, i, signs&(baseURL|baseStd))
		}
	}
}

func (f *search) revealRun(s string, from, to int, signs trait) {
	if signs != baseURL|baseStd {
		f.revealPart(s, from, to)
	} else {
		f.revealParts(s, from, to, baseURL)
		f.revealParts(s, from, to, baseStd)
	}
	if signs != 0 {
		f.revealParts(s, from, to, signs)
	}
}

// revealParts cuts s[from:to] at the signs in cuts and tries each part.
func (f *search) revealParts(s string, from, to int, cuts trait) {
	for i := from; i <= to && !f.done(); i++ {
		if i == to || traits[s[i]]&cuts != 0 {
			f.revealPart(s, from, i)
			from = i + 1
		}
	}
}

func (f *search) revealPart(s string, from, to int) {
	if to-from < shortestBase64 {
		return
	}
	if k, ok := reveal(s[from:to]); ok {
		f.add(from, padded(s, to), k)
	}
}

// padded includes the padding after a token.
func padded(s string, i int) int {
	for k := 0; k < 2 && peek(s, i) == '='; k++ {
		i++
	}
	return i
}

// reveal looks into one token, a window at a time. Base64 inside base64 is not
// undone again: that is encryption's cousin, and no producer of ours does it.
func reveal(token string) (Kind, bool) {
	const step = (window - overlap) / 4 * 4
	if c := sextets[token[0]]<<2 | sextets[token[1]]>>4; c >= 0x80 && !utf8.RuneStart(c) {
		return "", false // no text begins like this, and most words in lower case do
	}
	for ; ; token = token[step:] {
		var stack [192]byte
		text, ok := decode(token[:min(len(token), window)], stack[:0])
		if ok && utf8.Valid(whole(text)) && !position(text) {
			if k, found := within(string(text)); found {
				return k, true
			}
		}
		if len(token) <= window {
			return "", false
		}
	}
}

func within(text string) (Kind, bool) {
	var f search
	p := profileOf(text)
	if f.direct(text, p); len(f.hits) == 0 && p.traits&(wide|veil) != 0 {
		f.peel(view{s: text, hi: len(text)}, depth-1, false)
	}
	return f.first()
}

// whole drops what a cut left of the first and the last character.
func whole(text []byte) []byte {
	for k := 0; k < utf8.UTFMax-1 && len(text) > 0 && !utf8.RuneStart(text[0]); k++ {
		text = text[1:]
	}
	for k := 1; k < utf8.UTFMax && k <= len(text); k++ {
		if last := text[len(text)-k:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return text[:len(text)-k]
			}
			break
		}
	}
	return text
}

// position says that text is "61905152:20", the place in the log from which
// the relay makes its message ids. Such a place may have eleven digits.
func position(text []byte) bool {
	return strings.Count(string(text), ":") == 1 && strings.Trim(string(text), "0123456789:") == ""
}

// decode appends the text of token to buf. It gives up at the first control
// character, which most ids and hashes reach soon.
func decode(token string, buf []byte) ([]byte, bool) {
	var bits uint32
	for i := range len(token) {
		bits = bits<<6 | uint32(sextets[token[i]])
		if k := i % 4; k > 0 {
			c := byte(bits >> (6 - 2*k))
			if c < ' ' && (c < '\t' || c > '\r') || c == 0x7f {
				return nil, false
			}
			buf = append(buf, c)
		}
	}
	return buf, true
}

var sextets = sextetTable()

func sextetTable() (t [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	t['-'], t['_'] = t['+'], t['/']
	return t
}
