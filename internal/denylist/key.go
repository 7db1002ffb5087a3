package denylist

import (
	"strings"
	"unicode/utf8"
)

// Key says that the value of a field with this name must not be shown,
// whatever it is. The name may be in camel, snake or kebab case, with dots,
// accents or numbers; see names.go for the words.
func Key(name string) bool {
	if technical[name] {
		return false
	}
	_, ok := classOf(name)
	return ok
}

// isSecret says that the name alone promises a credential.
func isSecret(name string) bool {
	if len(name) < len("otp") || technical[name] {
		return false
	}
	c, ok := classOf(name)
	return ok && c == secret
}

func classOf(name string) (class, bool) {
	if !ascii(name) {
		name = layer{text: name}.rewrite(fold).text
	}
	var text [96]byte // on the stack: a log line asks for a dozen names
	var ends [16]int
	w := words{}
	w.text, w.ends = split(name, text[:0], ends[:0])
	return w.class()
}

// words is a name taken apart: "customerFull-Name2" is "customer_full_name".
// Words of digits are dropped, so phone1 is phone.
type words struct {
	text []byte
	ends []int // where each word ends in text
}

func split(name string, text []byte, ends []int) ([]byte, []int) {
	from := 0
	for i := 0; i <= len(name); i++ {
		c := peek(name, i)
		inside := isLetter(c) || c >= utf8.RuneSelf
		if len(text) > from && (!inside || starts(name, i)) {
			ends = append(ends, len(text))
			text = append(text, '_')
			from = len(text)
		}
		if isLetter(c) {
			c |= 0x20
		}
		if inside {
			text = append(text, c)
		}
	}
	return text, ends
}

// starts says that a capital begins a word: fullName, and the N of CPFName.
func starts(name string, i int) bool {
	upper := func(c byte) bool { return c-'A' < 26 }
	lower := func(c byte) bool { return c-'a' < 26 }
	return upper(name[i]) && (lower(peek(name, i-1)) || upper(peek(name, i-1)) && lower(peek(name, i+1)))
}

// span is words i to j-1, joined by underscores.
func (w *words) span(i, j int) []byte {
	from := 0
	if i > 0 {
		from = w.ends[i-1] + 1
	}
	return w.text[from:w.ends[j-1]]
}

// class looks up every one, two and three words in a row.
func (w *words) class() (class, bool) {
	n := len(w.ends)
	for i := range n {
		for j := i + 1; j <= min(n, i+3); j++ {
			r, ok := names[string(w.span(i, j))]
			if !ok && j == i+1 {
				r, ok = stem(w.span(i, j))
			}
			if ok && r.holds(i, j, n) && (j >= n || !about[string(w.span(n-1, n))]) {
				return r.class, true
			}
		}
	}
	return w.joined()
}

// joined tries the name without its separators: C.P.F. and e-Mail.
func (w *words) joined() (class, bool) {
	if len(w.ends) < 2 || len(w.text) > 32 {
		return 0, false
	}
	var buf [32]byte
	short := buf[:0]
	for _, c := range w.text {
		if c != '_' {
			short = append(short, c)
		}
	}
	r, ok := names[string(short)]
	return r.class, ok
}

// stem finds a plural, or a word that is written together with another:
// emails, cpfcliente, userpassword.
func stem(w []byte) (rule, bool) {
	if n := len(w) - 1; n > 3 && w[n] == 's' {
		if r, ok := names[string(w[:n])]; ok && r.where == anywhere {
			return r, true
		}
	}
	for _, s := range [...]string{"cpf", "cnpj", "email", "password", "senha", "telefone", "celular"} {
		if len(w) > len(s) && (strings.HasPrefix(string(w), s) || strings.HasSuffix(string(w), s)) {
			return names[s], true
		}
	}
	return rule{}, false
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
