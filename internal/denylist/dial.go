package denylist

// international reads a number with its country code from i, without the plus.
func international(s string, i int) (to int, ok bool) {
	if peek(s, i) != '5' || peek(s, i+1) != '5' {
		return 0, false
	}
	return national(s, i+2)
}

// national reads area code and subscriber from i.
func national(s string, i int) (to int, ok bool) {
	d := dial{s: s, i: i}
	if a, b := d.next(), d.next(); !isArea(a, b) {
		return 0, false
	}
	return d.subscriber()
}

// dial reads the digits of a number that a person wrote: up to two
// separators may stand before each.
type dial struct {
	s string
	i int
}

func (d *dial) next() byte {
	for range 2 {
		switch peek(d.s, d.i) {
		case ' ', '-', '.', '(', ')':
			d.i++
		}
	}
	c := peek(d.s, d.i)
	if !isDigit(c) {
		return 0
	}
	d.i++
	return c
}

// subscriber reads nine digits that begin with 9 (mobile), or eight that
// begin with 2 to 5 (landline), and nothing may follow.
func (d *dial) subscriber() (to int, ok bool) {
	left := 7
	switch c := d.next(); {
	case c == '9':
		left = 8
	case c < '2' || c > '5':
		return 0, false
	}
	for range left {
		if d.next() == 0 {
			return 0, false
		}
	}
	return d.i, !isAlnum(peek(d.s, d.i))
}

// isArea knows the 67 area codes in use.
func isArea(a, b byte) bool {
	if b < '1' || b > '9' {
		return false
	}
	switch a {
	case '1', '4', '6', '8', '9':
		return true
	case '2':
		return b == '1' || b == '2' || b == '4' || b == '7' || b == '8'
	case '3':
		return b <= '5' || b == '7' || b == '8'
	case '5':
		return b == '1' || b >= '3' && b <= '5'
	case '7':
		return b == '1' || b >= '3' && b <= '5' || b == '7' || b == '9'
	}
	return false
}
