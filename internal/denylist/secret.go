package denylist

import "strings"

// privateKeys finds PEM blocks whose label ends in PRIVATE KEY.
func (f *search) privateKeys(s string) {
	const begin = "-----BEGIN "
	for i := 0; !f.done(); {
		k := strings.Index(s[i:], begin)
		if k < 0 {
			return
		}
		from := i + k
		i = from + len(begin)
		if n := keyLabel(s, i); n > 0 {
			i = keyEnd(s, i+n)
			f.add(from, i, PrivateKey)
		}
	}
}

// keyLabel is the length of a label such as "RSA PRIVATE KEY-----" at i, or 0.
func keyLabel(s string, i int) int {
	const label, longest = "PRIVATE KEY-----", 64
	n := strings.Index(s[i:min(len(s), i+longest)], label)
	if n < 0 || strings.Contains(s[i:i+n], "--") {
		return 0
	}
	return n + len(label)
}

// keyEnd is the end of a block, or of the JSON string or text that cuts it short.
func keyEnd(s string, i int) int {
	const end = "-----END "
	for ; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i - slashesBefore(s, i)
		case '-':
			if strings.HasPrefix(s[i:], end) {
				i += len(end)
				return i + keyLabel(s, i)
			}
		}
	}
	return i
}

// assignments finds password=..., client_secret=... in queries, forms and
// connection strings, and "password: hunter22" where the value looks random:
// "token: not found" is prose.
func (f *search) assignments(s string) {
	for i := 3; i < len(s) && !f.done(); i++ {
		if s[i] != '=' && s[i] != ':' || !isLetter(s[i-1]) && s[i-1] != ' ' {
			continue
		}
		from := i + 1
		for k := 0; k < 2 && strings.IndexByte(` '"`, peek(s, from)) >= 0; k++ {
			from++
		}
		if placeholder(s[min(from, len(s)):]) || s[i] == ':' && !random(head(s, from)) || !isSecret(nameBefore(s, i)) {
			continue
		}
		if to := valueEnd(s, from); to > from {
			f.add(from, to, Secret)
			i = to - 1
		}
	}
}

// nameBefore reads the word that ends at i, over one space.
func nameBefore(s string, i int) string {
	const longest = 40
	if s[i-1] == ' ' {
		i--
	}
	from := i
	for from > 0 && i-from < longest && (inToken(s[from-1]) || s[from-1] == '.') {
		from--
	}
	return s[from:i]
}

// head is enough of a value to judge it by.
func head(s string, i int) string {
	s = s[min(i, len(s)):min(len(s), i+64)]
	return s[:valueEnd(s, 0)]
}

func valueEnd(s string, i int) int {
	for i < len(s) && !isSpace(s[i]) && strings.IndexByte(`&;,"'<>)]}|\`, s[i]) < 0 {
		i++
	}
	return i
}

// placeholder says that a value was already hidden, or is to be filled in.
func placeholder(v string) bool {
	return strings.HasPrefix(v, opening) || strings.HasPrefix(v, "***") ||
		strings.HasPrefix(v, "{") || strings.HasPrefix(v, "${") || strings.HasPrefix(v, "<")
}

// logins finds the user:password of scheme://user:password@host. Without a
// password it is left to emails.
func (f *search) logins(s string) {
	const sep = "://"
	for i := 0; !f.done(); {
		k := strings.Index(s[i:], sep)
		if k < 0 {
			return
		}
		from := i + k + len(sep)
		end := from
		for end < len(s) && !isSpace(s[end]) && strings.IndexByte(`/?#"<>\`, s[end]) < 0 {
			end++
		}
		if to := strings.LastIndexByte(s[from:end], '@'); to > 0 && !marked(s[from:from+to]) {
			if c := strings.IndexByte(s[from:from+to], ':'); c >= 0 && c < to-1 {
				f.add(from, from+to, Secret)
			}
		}
		i = end
	}
}

// brCodes finds the payload of a PIX QR code. The key inside it touches other
// digits, so no other scanner would see it.
func (f *search) brCodes(s string) {
	const domain = "br.gov.bcb.pix"
	for i := len(domain); i < len(s) && !f.done(); i++ {
		if s[i-1]|0x20 != 'x' || !isDigit(s[i]) || !same(s[i-len(domain):i], domain) {
			continue
		}
		from, to := i-len(domain), i
		for from > 0 && isAlnum(s[from-1]) {
			from--
		}
		for to < len(s) && s[to] >= ' ' && s[to] != '"' && s[to] != '\\' {
			to++
		}
		f.add(from, to, PIX)
		i = to
	}
}
