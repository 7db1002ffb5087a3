package denylist

// cardAt finds a card number: bare, or in the groups in which cards are
// printed, joined by spaces or dashes.
func cardAt(g *groups) (hit, bool) {
	for _, n := range [...]int{5, 4, 3, 1} {
		if !printed(g, n) {
			continue
		}
		if d := g.digits(n); branded(d.bytes()) && luhn(d.bytes()) {
			return hit{g.start[0], g.end[n-1], Card}, true
		}
	}
	return hit{}, false
}

func printed(g *groups, n int) bool {
	switch n {
	case 1:
		size := g.end[0] - g.start[0]
		return size >= 13 && size <= 19 && bare(g.s, g.start[0], g.end[0])
	case 3:
		return (g.lens(4, 6, 5) || g.lens(4, 6, 4)) && evenly(g, n)
	case 4:
		return g.lens(4, 4, 4, 4) && evenly(g, n)
	default:
		return g.lens(4, 4, 4, 4, 3) && evenly(g, n)
	}
}

// evenly says that the first n groups are joined by the same space or dash,
// and that the first one does not continue a word.
func evenly(g *groups, n int) bool {
	sep := g.sep(0)
	for k := 1; k < n-1; k++ {
		if g.sep(k) != sep {
			return false
		}
	}
	return (sep == ' ' || sep == '-') && !isAlnum(peek(g.s, g.start[0]-1)) && !isLetter(peek(g.s, g.end[n-1]))
}

// brand is a range of leading digits and the lengths its numbers may have.
type brand struct {
	from, to int // first digits, as numbers of equal length
	digits   int // how many leading digits these are
	min, max int
}

// The ranges of the schemes that are accepted in Brazil or travel there. No
// range begins with 1, so epoch times in milli-, micro- and nanoseconds miss.
var brands = [...]brand{
	{4, 4, 1, 13, 13}, {4, 4, 1, 16, 16}, {4, 4, 1, 19, 19}, // Visa, part of Elo
	{51, 55, 2, 16, 16}, {2221, 2720, 4, 16, 16}, // Mastercard
	{34, 34, 2, 15, 15}, {37, 37, 2, 15, 15}, // American Express
	{300, 305, 3, 14, 14}, {309, 309, 3, 14, 14}, {36, 36, 2, 14, 14}, {38, 39, 2, 14, 14}, // Diners Club
	{3841, 3841, 4, 16, 19}, {606282, 606282, 6, 16, 19}, {637095, 637999, 6, 16, 19}, // Hipercard, Hiper
	{50, 50, 2, 16, 19}, {627780, 627780, 6, 16, 16}, {636297, 636368, 6, 16, 16}, // Elo, Aura
	{6011, 6011, 4, 16, 19}, {644, 659, 3, 16, 19}, // Discover, Elo
	{62, 62, 2, 16, 19}, {3528, 3589, 4, 16, 19}, // UnionPay, JCB
}

func branded(d []byte) bool {
	for _, b := range brands {
		if len(d) < b.min || len(d) > b.max {
			continue
		}
		lead := 0
		for _, c := range d[:b.digits] {
			lead = lead*10 + int(c-'0')
		}
		if lead >= b.from && lead <= b.to {
			return true
		}
	}
	return false
}

func luhn(d []byte) bool {
	sum, twice := 0, false
	for i := len(d) - 1; i >= 0; i-- {
		n := int(d[i] - '0')
		if twice {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
		twice = !twice
	}
	return sum%10 == 0
}
