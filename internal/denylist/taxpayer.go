package denylist

// taxpayerAt finds a CPF or a numeric CNPJ, bare or with a mask. Check digits
// must be right: they are what tells one from any other number of its length.
func taxpayerAt(g *groups) (hit, bool) {
	kind := CPF
	var n int // groups
	switch {
	case g.lens(3, 3, 3, 2) && !fraction(g):
		n = 4
	case g.lens(9, 2) && g.sep(0) != '.' && g.sep(0) != ' ' && bare(g.s, g.start[0], g.end[1]):
		n = 2
	case g.lens(11) && bare(g.s, g.start[0], g.end[0]):
		n = 1
	case g.lens(2, 3, 3, 4, 2) && !fraction(g):
		kind, n = CNPJ, 5
	case g.lens(8, 4, 2) && g.sep(0) == '/':
		kind, n = CNPJ, 3
	case g.lens(14) && bare(g.s, g.start[0], g.end[0]):
		kind, n = CNPJ, 1
	default:
		return hit{}, false
	}
	d := g.digits(n)
	ok := kind == CPF && isCPF(d.bytes()) || kind == CNPJ && isCNPJ(d.bytes()) && (n > 1 || !isStamp(d.bytes()))
	return hit{g.start[0], g.end[n-1], kind}, ok
}

// fraction says that the groups go on to the left: 1.123.456.789-09 is an amount.
func fraction(g *groups) bool {
	i := g.start[0]
	return peek(g.s, i-1) == '.' && isDigit(peek(g.s, i-2))
}

func isCPF(d []byte) bool {
	return !alike(d) && mod11(d[:9], 11) == d[9] && mod11(d[:10], 11) == d[10]
}

const lenCNPJ = 14

// isCNPJ takes digits and capital letters: since July 2026 the first twelve
// places may hold letters, which count as their ASCII code less 48.
func isCNPJ(d []byte) bool {
	return !alike(d) && mod11(d[:12], 9) == d[12] && mod11(d[:13], 9) == d[13]
}

// mod11 is the check digit of d: weights grow from 2 at the right end up to
// most, then begin again.
func mod11(d []byte, most int) byte {
	sum, weight := 0, 2
	for i := len(d) - 1; i >= 0; i-- {
		sum += int(d[i]-'0') * weight
		if weight++; weight > most {
			weight = 2
		}
	}
	if rest := sum % 11; rest > 1 {
		return byte('0' + 11 - rest)
	}
	return '0'
}

// alike spots 000... and 111..., whose check digits are right but which nobody holds.
func alike(d []byte) bool {
	for _, c := range d {
		if c != d[0] {
			return false
		}
	}
	return true
}

// isStamp says that fourteen digits read as yyyymmddhhmmss between 1990 and
// 2099. One in two thousand real CNPJ roots looks like that when bare; every
// compact timestamp does.
func isStamp(d []byte) bool {
	two := func(i int) int { return int(d[i]-'0')*10 + int(d[i+1]-'0') }
	year := two(0)*100 + two(2)
	return year >= 1990 && year <= 2099 && two(4) >= 1 && two(4) <= 12 &&
		two(6) >= 1 && two(6) <= 31 && two(8) < 24 && two(10) < 60 && two(12) <= 60
}

// maskedCNPJs finds AA.AAA.AAA/AAAA-99 around each slash, letters included.
func (f *search) maskedCNPJs(s string) {
	const left, right = 10, 8 // characters before the slash, and from it on
	for i := left; i+right <= len(s) && !f.done(); i++ {
		if s[i] != '/' || s[i-4] != '.' || s[i-8] != '.' || s[i+5] != '-' {
			continue
		}
		from, to := i-left, i+right
		if d, ok := cnpjDigits(s[from:to]); ok && isCNPJ(d[:]) && !isDigit(peek(s, from-1)) && !isDigit(peek(s, to)) {
			f.add(from, to, CNPJ)
		}
	}
}

// labelledCNPJs finds a bare CNPJ with letters after the word "cnpj". Without
// the word, one in a hundred fourteen-character tokens would hit.
func (f *search) labelledCNPJs(s string) {
	for i := 4; i < len(s) && !f.done(); i++ {
		if s[i-1]|0x20 != 'j' || !same(s[i-4:i], "cnpj") {
			continue
		}
		from := i
		for from < len(s) && from-i < 6 && !isAlnum(s[from]) {
			from++
		}
		to := from + lenCNPJ
		if from == i || to > len(s) || isAlnum(peek(s, to)) {
			continue
		}
		if d, ok := cnpjDigits(s[from:to]); ok && isCNPJ(d[:]) {
			f.add(from, to, CNPJ)
		}
	}
}

// cnpjDigits strips the mask, folds to capitals and wants fourteen characters,
// the last two of them digits.
func cnpjDigits(s string) (d [lenCNPJ]byte, ok bool) {
	n := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case isLetter(c) && n < lenCNPJ-2:
			c &^= 0x20
		case !isDigit(c) && isAlnum(c), n == lenCNPJ:
			return d, false
		case !isDigit(c):
			continue
		}
		d[n] = c
		n++
	}
	return d, n == lenCNPJ
}
