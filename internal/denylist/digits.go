package denylist

// groups are up to five runs of digits, each joined to the next by one of
// ". - / space": the skeleton of masked numbers, cards, phones and addresses.
type groups struct {
	s          string
	n          int
	start, end [5]int
}

func groupsAt(s string, i int) groups {
	g := groups{s: s}
	for g.n < len(g.start) {
		g.start[g.n], g.end[g.n] = i, digitsEnd(s, i)
		i = g.end[g.n] + 1
		g.n++
		if !isDigit(peek(s, i)) || !joins(s[i-1]) {
			break
		}
	}
	return g
}

func joins(c byte) bool { return c == '.' || c == '-' || c == '/' || c == ' ' }

func digitsEnd(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// lens says whether the first groups have these lengths.
func (g *groups) lens(want ...int) bool {
	if g.n < len(want) {
		return false
	}
	for k, n := range want {
		if g.end[k]-g.start[k] != n {
			return false
		}
	}
	return true
}

// sep is the character between group k and the next one.
func (g *groups) sep(k int) byte { return g.s[g.end[k]] }

// run is the text of group k.
func (g *groups) run(k int) string { return g.s[g.start[k]:g.end[k]] }

// digits joins the first n groups; more than 19 digits are of no interest.
func (g *groups) digits(n int) (d digits) {
	for k := range n {
		for i := g.start[k]; i < g.end[k] && d.n < len(d.at); i++ {
			d.at[d.n] = g.s[i]
			d.n++
		}
	}
	return d
}

// digits is a number without its mask.
type digits struct {
	at [19]byte
	n  int
}

func (d *digits) bytes() []byte { return d.at[:d.n] }

// numbers looks at each run of digits once, together with what surrounds it.
func (f *search) numbers(s string) {
	for i := 0; i < len(s) && !f.done(); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		end := digitsEnd(s, i)
		if !isLetter(peek(s, end)) { // hashes and ids: no number goes on in a letter
			g := groupsAt(s, i)
			if h, ok := numberAt(&g); ok {
				f.hits = append(f.hits, h)
				end = h.to
			}
		}
		i = end
	}
}

// numberAt tries the shapes in turn. After a letter only a masked number, or
// one whose name the letters are, is still one.
func numberAt(g *groups) (hit, bool) {
	h, ok := taxpayerAt(g)
	if ok || isLetter(peek(g.s, g.start[0]-1)) {
		return h, ok
	}
	if h, ok = cardAt(g); ok {
		return h, true
	}
	if h, ok = phoneAt(g); ok {
		return h, true
	}
	if h, ok = accountAt(g); ok {
		return h, true
	}
	return address4At(g)
}

// bare says that the digits s[from:to] stand alone: not inside a word or hash,
// not the fraction of a number. Longer ids joined by dashes
// are recognised by what stands before: a 16-digit span id follows the 32
// hexadecimal digits of its trace.
func bare(s string, from, to int) bool {
	before, after := peek(s, from-1), peek(s, to)
	switch {
	case isLetter(before) && !labelled(s, from), isLetter(after):
		return false
	case before == '.' && isDigit(peek(s, from-2)), after == '.' && isDigit(peek(s, to+1)):
		return false
	case before == '-' && from > 32 && isHex(s[from-33:from-1]):
		return false
	}
	return true
}

// labelled says that the letters right before i are the name of the number.
func labelled(s string, i int) bool {
	return i >= 3 && same(s[i-3:i], "cpf") && !isLetter(peek(s, i-4)) ||
		i >= 4 && same(s[i-4:i], "cnpj") && !isLetter(peek(s, i-5))
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; !isDigit(s[i]) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
