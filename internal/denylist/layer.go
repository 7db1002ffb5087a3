package denylist

import "strings"

// layer is a text of which one or more encodings were undone.
type layer struct {
	text string
	at   []int // at[i] is where text[i] came from; one more for the end; nil if nobody asks
}

// undo removes one layer of each encoding, in the order in which they are
// usually applied last. It reports whether anything changed.
func (l layer) undo() (layer, bool) {
	out := l
	p := profileOf(l.text)
	if p.has(wide) {
		out = out.rewrite(fold)
	}
	if p.has(veil) && strings.IndexByte(out.text, '\\') >= 0 {
		out = out.rewrite(unescape)
	}
	if p.has(veil) {
		out = out.rewrite(unquote)
	}
	return out, out.text != l.text
}

// rewriter turns the beginning of s into out and says how much of s that was.
// Whatever it does not know it passes on, one byte at a time.
type rewriter func(s string, out []byte) (_ []byte, used int)

func (l layer) rewrite(next rewriter) layer {
	out := layer{}
	text := make([]byte, 0, len(l.text))
	for i := 0; i < len(l.text); {
		before := len(text)
		var used int
		text, used = next(l.text[i:], text)
		if l.at != nil {
			for range len(text) - before {
				out.at = append(out.at, l.at[i])
			}
		}
		i += used
	}
	if l.at != nil {
		out.at = append(out.at, l.at[len(l.text)])
	}
	out.text = string(text)
	return out
}

// span is the place from which h was decoded.
func (l layer) span(h hit) (from, to int) {
	from, to = l.at[h.from], h.to
	for to < len(l.text) && l.at[to] == l.at[h.to-1] {
		to++ // several bytes may come from one character
	}
	return from, l.at[to]
}
