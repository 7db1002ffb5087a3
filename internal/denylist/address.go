package denylist

import "net/netip"

// address4At finds an IPv4 address. Four small numbers with dots are also how
// some versions and object identifiers are written; what tells them apart
// stands around them.
func address4At(g *groups) (hit, bool) {
	if g.n < 4 || g.sep(0) != '.' || g.sep(1) != '.' || g.sep(2) != '.' || !freestanding(g) {
		return hit{}, false
	}
	from, to := g.start[0], g.end[3]
	if to-from > len("255.255.255.255") {
		return hit{}, false
	}
	a, err := netip.ParseAddr(g.s[from:to])
	return hit{from, to, IP}, err == nil && ofSomebody(a)
}

// freestanding rules out 1.2.3.4.5, v1.2.3.4, 1.2.3.4-rc1, "version 1.2.3.4"
// and 2.5.4.97=..., the way certificates name an attribute.
func freestanding(g *groups) bool {
	from, to := g.start[0], g.end[3]
	before, after := peek(g.s, from-1), peek(g.s, to)
	switch {
	case isAlnum(before), before == '.' && isAlnum(peek(g.s, from-2)), isLetter(after), after == '=':
		return false
	case (after == '.' || after == '+') && isDigit(peek(g.s, to+1)), after == '-' && isLetter(peek(g.s, to+1)):
		return false
	}
	l := labelBefore(g.s, from)
	return !l.is("version") && !l.is("versao") && !l.is("release") && !l.is("v")
}

// ofSomebody leaves out what no person's machine has: this host (0/8, 127/8,
// ::1, ::), groups and reserved space, and network addresses, which browsers
// also use as their frozen version (Chrome/120.0.0.0). Private addresses stay
// in: inside a bank they name a desk.
func ofSomebody(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0] != 127 && b[0] < 224 && (b[1]|b[2]|b[3]) != 0
	}
	// Without a network it is ::42, a name in C++; without a host, a prefix.
	b := a.As16()
	return !a.IsMulticast() && !zero(b[:8]) && !zero(b[8:])
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// addresses6 finds IPv6 addresses: runs of hexadecimal digits, colons and dots.
func (f *search) addresses6(s string) {
	for i := 0; i < len(s) && !f.done(); i++ {
		if !inAddress6(s[i]) {
			continue
		}
		from := i
		for i < len(s) && inAddress6(s[i]) {
			i++
		}
		if from, to := trim6(s, from, i); address6(s, from, to) {
			f.add(from, to, IP)
		}
	}
}

func inAddress6(c byte) bool {
	return isDigit(c) || c == ':' || c == '.' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// trim6 drops the punctuation of the sentence around an address.
func trim6(s string, from, to int) (int, int) {
	if from+1 < to && s[from] == ':' && s[from+1] != ':' {
		from++
	}
	for to-2 > from && (s[to-1] == '.' || s[to-1] == ':' && s[to-2] != ':') {
		to--
	}
	return from, to
}

// address6 wants a digit somewhere ("abc::def" is a name) and, without "::", a
// group longer than two: eight pairs are a hardware address.
func address6(s string, from, to int) bool {
	const longest = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
	if to-from < 4 || to-from > longest || isAlnum(peek(s, from-1)) || isAlnum(peek(s, to)) {
		return false
	}
	colons, digits, double, group, widest := 0, 0, false, 0, 0
	for i := from; i < to; i++ {
		group++
		switch c := s[i]; {
		case c == ':':
			double = double || peek(s, i-1) == ':' && i > from
			colons++
			group = 0
		case isDigit(c):
			digits++
		}
		widest = max(widest, group)
	}
	if colons < 2 || digits == 0 || !double && widest < 3 {
		return false
	}
	a, err := netip.ParseAddr(s[from:to])
	return err == nil && ofSomebody(a)
}
