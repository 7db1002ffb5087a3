package denylist

func (l *label) ofAccount() bool { return isAccountWord(l.name()) }

func isAccountWord(w []byte) bool {
	switch string(w) {
	case "conta", "contas", "cc", "account", "acct", "corrente", "poupanca":
		return true
	}
	return false
}

func (l *label) ofBranch() bool {
	switch string(l.name()) {
	case "ag", "agc", "agencia", "branch":
		return true
	}
	return false
}

// accountAt finds the number of an account or branch by the word before it:
// the digits alone could be anything.
func accountAt(g *groups) (hit, bool) {
	if isAlnum(peek(g.s, g.start[0]-1)) {
		return hit{}, false
	}
	l := labelBefore(g.s, g.start[0])
	if !l.ofAccount() && !l.ofBranch() {
		return hit{}, false
	}
	n := accountNumber(g.s, g.start[0])
	ok := false
	switch {
	case n.to == 0:
	case l.ofAccount() && n.checked:
		ok = n.digits >= 3
	case l.ofAccount():
		ok = n.digits >= 5 && l.marked || n.digits >= 4 && afterBranch(g.s, l.from)
	default:
		ok = n.digits == 4 && (l.marked || l.is("agencia") || dotted(g.s, &l) || beforeAccount(g.s, n.to))
	}
	return hit{l.from, n.to, Account}, ok
}

const mostAccountDigits = 13

// written is a number as accounts are written: 12.345-6, 12345-x, 123456.
type written struct {
	to, digits int
	checked    bool // it ends in a check digit after a dash
}

func accountNumber(s string, i int) (w written) {
	for isDigit(peek(s, i)) || peek(s, i) == '.' && isDigit(peek(s, i+1)) {
		if s[i] != '.' {
			w.digits++
		}
		if i++; w.digits > mostAccountDigits { // also keeps the cost of each look constant
			return written{}
		}
	}
	if last := peek(s, i+1); peek(s, i) == '-' && isAlnum(last) {
		if !isDigit(last) && last|0x20 != 'x' || isAlnum(peek(s, i+2)) {
			return written{} // 12345678-90ab: an id
		}
		w.checked = true
		i += 2
	}
	if !isLetter(peek(s, i)) {
		w.to = i
	}
	return w
}

// afterBranch says that a branch number ends before i: "ag 1234 cc".
func afterBranch(s string, i int) bool {
	for k := 0; k < 4 && i > 0 && !isAlnum(s[i-1]); k++ {
		i--
	}
	end := i
	for i > 0 && end-i < 8 && (isDigit(s[i-1]) || s[i-1] == '-') {
		i--
	}
	if i == end {
		return false
	}
	l := labelBefore(s, i)
	return l.ofBranch()
}

// beforeAccount says that an account follows after i: "ag 1234 cc".
func beforeAccount(s string, i int) bool {
	for k := 0; k < 4 && i < len(s) && !isAlnum(s[i]); k++ {
		i++
	}
	var word [12]byte
	n := 0
	for ; n < len(word) && i < len(s) && (isLetter(s[i]) || s[i] == '/'); i++ {
		if s[i] != '/' {
			word[n] = s[i] | 0x20
			n++
		}
	}
	return isAccountWord(word[:n])
}

// dotted is the abbreviation: "ag. 1234". A dot without a space joins tokens
// of a subject and abbreviates nothing.
func dotted(s string, l *label) bool {
	i := l.from + l.n
	return peek(s, i) == '.' && peek(s, i+1) == ' '
}
