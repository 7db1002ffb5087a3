package denylist

// label is the word before a number: "conta nº: 12345-6" has "conta".
type label struct {
	word   [12]byte // in lower case, without accents
	n      int
	from   int  // where the word begins
	marked bool // a colon, an equals sign or "number" stands between
}

func (l *label) name() []byte { return l.word[:l.n] }

func (l *label) is(word string) bool { return string(l.name()) == word }

// labelBefore reads back over separators and filling words, a few of each, so
// that its cost does not depend on the text.
func labelBefore(s string, i int) label {
	l := label{from: i}
	for range 4 {
		if !l.readBack(s) {
			return label{from: i}
		}
		switch string(l.name()) {
		case "n", "o", "no", "nr", "num", "numero", "number", "id":
			l.marked = true
		case "salario", "pagamento", "bancaria", "digital":
		case "c":
			if l.from >= 2 && same(s[l.from-2:l.from], "c/") { // c/c: conta corrente
				l.from, l.word[1], l.n = l.from-2, 'c', 2
			}
			return l
		default:
			return l
		}
	}
	return label{from: i}
}

// readBack takes the word before l.from. It fails where there is none, or one
// that is longer than any word we know.
func (l *label) readBack(s string) bool {
	end := l.skipBack(s)
	from := end
	for from > 0 && end-from < len(l.word) && inWord(s[from-1]) {
		from--
	}
	l.from, l.n = from, 0
	for k := from; k < end; k++ {
		c := s[k]
		if c == latin && k+1 < end {
			k++
			c = unaccented(s[k])
		}
		l.word[l.n] = c | 0x20
		l.n++
	}
	return l.n > 0 && !inWord(peek(s, from-1))
}

func inWord(c byte) bool { return isLetter(c) || c >= 0x80 }

// latin begins the UTF-8 form of the letters that Portuguese adds to ASCII.
const latin = 0xc3

// unaccented is the plain letter of such a form's second byte, or a byte that
// is in no word. Capitals differ from small letters in one bit.
func unaccented(c byte) byte {
	switch c |= 0x20; {
	case c >= 0xa0 && c <= 0xa5:
		return 'a'
	case c == 0xa7:
		return 'c'
	case c >= 0xa8 && c <= 0xab:
		return 'e'
	case c >= 0xac && c <= 0xaf:
		return 'i'
	case c >= 0xb2 && c <= 0xb6:
		return 'o'
	case c >= 0xb9 && c <= 0xbc:
		return 'u'
	}
	return c
}

// skipBack passes the separators before the label's start, the º of nº too.
func (l *label) skipBack(s string) int {
	i := l.from
	for i > 0 && l.from-i < 6 {
		switch s[i-1] {
		case ':', '=', '#':
			l.marked = true
		case ' ', '\t', '.', '-', '_', '(', '\'':
		case 0xba, 0xb0:
			if peek(s, i-2) != 0xc2 {
				return i
			}
			i--
		default:
			return i
		}
		i--
	}
	return i
}
