package denylist

import "strings"

const (
	depth   = 3        // how many layers of encoding are undone
	window  = 64 << 10 // how much of a text is decoded at once: bounds memory, not length
	overlap = 1 << 10  // what two windows share, so that a hit on the border is seen whole
)

// hidden looks at what s says after its encodings are undone.
func (f *search) hidden(s string, p profile, levels int) {
	if p.run >= shortestBase64 {
		f.revealAll(s)
	}
	if p.traits&(wide|veil) == 0 {
		return
	}
	for lo, covered := 0, 0; !f.done(); {
		hi := min(len(s), lo+window)
		covered = f.peel(view{s, lo, hi, covered}, levels, true)
		if hi == len(s) {
			return
		}
		lo = cut(s, hi-overlap, hi)
	}
}

// view is the part of a text that is undone at once.
type view struct {
	s       string
	lo, hi  int
	covered int // where the last token ended that was reported already
}

// cut is where the next window begins: after a delimiter, so that it does not
// begin inside a number, or in the middle of a token that has none.
func cut(s string, lo, hi int) int {
	for i := lo; i < hi; i++ {
		if delimits(s[i]) {
			return i + 1
		}
	}
	return lo
}

// peel undoes v layer by layer until one shows a hit, and reports the tokens
// that it came from. It returns where the last of them ends.
func (f *search) peel(v view, levels int, base64too bool) (covered int) {
	l := layer{text: v.s[v.lo:v.hi]}
	if f.all {
		l.at = make([]int, len(l.text)+1)
		for i := range l.at {
			l.at[i] = v.lo + i
		}
	}
	for range levels {
		var ok bool
		if l, ok = l.undo(); !ok {
			break
		}
		inner := search{all: f.all}
		if inner.direct(l.text, profileOf(l.text)); len(inner.hits) == 0 && base64too {
			inner.revealAll(l.text)
		}
		if len(inner.hits) > 0 {
			return f.addSources(l, v, inner.hits)
		}
	}
	return v.covered
}

// addSources reports the token of each hit once: a token may be a megabyte
// long and hold thousands, and must not be measured for each of them.
func (f *search) addSources(l layer, v view, hits []hit) (covered int) {
	for _, h := range merge(hits) {
		if l.at == nil { // only the kind is wanted
			f.add(0, 0, h.kind)
			continue
		}
		from, to := l.span(h)
		if to <= v.covered {
			continue
		}
		from, to = token(v.s, from, to, v.covered)
		f.add(from, to, h.kind)
		v.covered = to
	}
	return v.covered
}

// token widens s[from:to] to the delimiters around it, but not below floor.
func token(s string, from, to, floor int) (int, int) {
	for from > floor && !delimits(s[from-1]) {
		from--
	}
	for to < len(s) && !delimits(s[to]) {
		to++
	}
	for to > from+1 && s[to-1] == '\\' && peek(s, to) == '"' {
		to-- // the quote stays escaped
	}
	return from, to
}

// delimits ends a token: space, quotes, brackets, and what joins the parts of
// a query, a path or a list.
func delimits(c byte) bool {
	return c <= ' ' || strings.IndexByte(`"'<>()[]{},;&?=|/:`+"`", c) >= 0
}
