package denylist

// phoneAt finds a Brazilian number: with +55, with the area code in
// parentheses, with separators, as 55 and thirteen digits, or after a word
// such as "tel". Other bare digits are no phone: too many ids look like one.
func phoneAt(g *groups) (hit, bool) {
	from := g.start[0]
	var to int
	var ok bool
	switch {
	case peek(g.s, from-1) == '+':
		to, ok = international(g.s, from)
		from--
	case peek(g.s, from-1) == '(' && peek(g.s, g.end[0]) == ')':
		to, ok = parenthesised(g)
		from--
	case g.lens(13) && bare(g.s, from, g.end[0]):
		to, ok = international(g.s, from)
		ok = ok && g.s[from+4] == '9'
	default:
		if to, ok = separated(g); !ok {
			to, ok = announced(g.s, from)
		}
	}
	return hit{from, to, Phone}, ok
}

// parenthesised takes (11) 98765-4321, and a landline only with its separator:
// "(12) 34567890 bytes" is a count.
func parenthesised(g *groups) (to int, ok bool) {
	area := g.run(0)
	if len(area) == 3 && area[0] == '0' {
		area = area[1:]
	}
	if len(area) != 2 || !isArea(area[0], area[1]) {
		return 0, false
	}
	d := dial{g.s, g.end[0] + 1}
	if to, ok = d.subscriber(); !ok {
		return 0, false
	}
	mobile := (&dial{g.s, g.end[0] + 1}).next() == '9'
	return to, mobile || !isDigit(g.s[to-5])
}

// separated takes 11 98765-4321 and its kin, with or without 55 in front. The
// dash before the last four is required, and nothing may go on to the left:
// neither a date, nor a path, nor a number.
func separated(g *groups) (to int, ok bool) {
	if continues(g.s, g.start[0]) {
		return 0, false
	}
	if to, ok = areaThen(g, 0); !ok && g.run(0) == "55" {
		to, ok = areaThen(g, 1)
	}
	return to, ok
}

// areaThen wants an area code in group k and a subscriber in those after it.
func areaThen(g *groups, k int) (to int, ok bool) {
	if g.n < k+3 {
		return 0, false
	}
	area := g.run(k)
	if len(area) == 3 && area[0] == '0' {
		area = area[1:]
	}
	if len(area) != 2 || !isArea(area[0], area[1]) {
		return 0, false
	}
	rest := groups{s: g.s, n: g.n - k - 1}
	copy(rest.start[:], g.start[k+1:])
	copy(rest.end[:], g.end[k+1:])
	return subscriberGroups(&rest)
}

func subscriberGroups(g *groups) (to int, ok bool) {
	first, last := g.s[g.start[0]], 1
	switch {
	case g.lens(5, 4) && first == '9' && g.sep(0) == '-':
	case g.lens(1, 4, 4) && first == '9' && g.sep(1) == '-':
		last = 2
	case g.lens(4, 4) && first >= '2' && first <= '5' && g.sep(0) == '-' && (!isYear(g.run(0)) || !isYear(g.run(1))):
	default:
		return 0, false
	}
	return g.end[last], !isLetter(peek(g.s, g.end[last]))
}

// continues says that something goes on to the left of i: the day of a date,
// a part of a path, the minutes of a time.
func continues(s string, i int) bool {
	c := peek(s, i-1)
	return isAlnum(c) || (c == '-' || c == '.' || c == '/' || c == ':') && isAlnum(peek(s, i-2))
}

func isYear(s string) bool { return s[:2] == "19" || s[:2] == "20" }

// announced takes bare digits after a word that promises a phone number.
func announced(s string, i int) (to int, ok bool) {
	l := labelBefore(s, i)
	switch string(l.name()) {
	case "tel", "telefone", "fone", "phone", "celular", "cel", "mobile", "whatsapp", "pix":
	default:
		return 0, false
	}
	if to, ok = national(s, i); !ok {
		to, ok = international(s, i)
	}
	return to, ok
}
