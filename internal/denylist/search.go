package denylist

// hit is one place that must not be shown: s[from:to].
type hit struct {
	from, to int
	kind     Kind
}

// search gathers hits: all of them, or only the first.
type search struct {
	all  bool
	hits []hit
}

func (f *search) add(from, to int, k Kind) { f.hits = append(f.hits, hit{from, to, k}) }

// done says that nothing more needs to be looked for.
func (f *search) done() bool { return !f.all && len(f.hits) > 0 }

// shortest is the length of the shortest text that can hit: pin=1.
const shortest = 5

// first is the kind of the first hit.
func (f *search) first() (Kind, bool) {
	if len(f.hits) == 0 {
		return "", false
	}
	return f.hits[0].kind, true
}

// look searches s as it is written, and only if that says nothing, what its
// encodings hide: a precise hit is worth more than the token around it.
func (f *search) look(s string, p profile) {
	if f.direct(s, p); len(f.hits) == 0 {
		f.hidden(s, p, depth)
	}
}

// direct looks for every shape in s as it is written. The profile of the text
// decides which scanners run, because most log values need none of them.
func (f *search) direct(s string, p profile) {
	if len(s) >= shortest && (p.traits&suspicious != 0 || p.digits >= fewestDigits) {
		f.scan(s, p)
	}
}

func (f *search) scan(s string, p profile) {
	if p.has(dash) {
		f.privateKeys(s)
	}
	if !f.done() && p.has(quote|colon) {
		f.members(s)
	}
	if !f.done() && p.has(dot) && p.run >= shortestHeader {
		f.tokens(s)
	}
	if !f.done() && p.has(blank) {
		f.credentials(s)
	}
	if !f.done() && (p.has(equals) || p.has(colon)) {
		f.assignments(s)
	}
	if !f.done() && p.has(colon|slash|at) {
		f.logins(s)
	}
	if !f.done() && p.has(at|dot) {
		f.emails(s)
	}
	f.scanNumbers(s, p)
}

func (f *search) scanNumbers(s string, p profile) {
	if !f.done() && p.has(dot) && p.digits >= fewestDigits {
		f.brCodes(s)
	}
	if !f.done() && p.has(slash|dot|dash) && p.digits >= 2 {
		f.maskedCNPJs(s)
	}
	if !f.done() && p.digits >= 2 && p.run >= lenCNPJ {
		f.labelledCNPJs(s)
	}
	if !f.done() && p.digits >= fewestDigits {
		f.numbers(s)
	}
	if !f.done() && p.has(colon) && p.digits > 0 {
		f.addresses6(s)
	}
}
