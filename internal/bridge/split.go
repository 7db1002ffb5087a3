package bridge

import "bytes"

// split gives the elements of {"data":[…]}, or the body itself where it is any
// other object: with batch: false Sequin sends a bare message. What stands inside
// of an element is not looked at: one that is no JSON must not hold up the others.
// at is where the body stops being either, or -1.
func split(body []byte) (rows [][]byte, at int) {
	s := scanner{text: body}
	rows, ok := s.batch()
	if s.space(); !ok || s.at < len(s.text) {
		return nil, s.at
	}
	return rows, -1
}

// scanner finds where values end. It matches brackets and strings, at any depth,
// and takes no more memory than its answer.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) batch() (rows [][]byte, ok bool) {
	s.space()
	from := s.at
	if !s.take('{') {
		return nil, false
	}
	var data []byte
	members := 0
	for more := !s.take('}'); more; members++ {
		s.space()
		name, ok := s.value()
		if !ok || name[0] != '"' || !s.take(':') {
			return nil, false
		}
		value, ok := s.value()
		if !ok {
			return nil, false
		}
		if bytes.Equal(name, []byte(`"data"`)) && value[0] == '[' {
			data = value
		}
		if more = s.take(','); !more && !s.take('}') {
			return nil, false
		}
	}
	if data == nil || members != 1 {
		return [][]byte{s.text[from:s.at]}, true
	}
	inner := scanner{text: data}
	rows, ok = inner.elements()
	if !ok {
		s.at = from
	}
	return rows, ok
}

func (s *scanner) elements() (rows [][]byte, ok bool) {
	s.take('[')
	for more := !s.take(']'); more; {
		element, ok := s.value()
		if !ok {
			return nil, false
		}
		rows = append(rows, element)
		if more = s.take(','); !more && !s.take(']') {
			return nil, false
		}
	}
	return rows, true
}

// value takes one value. Of what is neither string, object nor array it takes
// everything up to the next comma or closing bracket.
func (s *scanner) value() (value []byte, ok bool) {
	s.space()
	from, depth := s.at, 0
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case '"':
			if !s.string() {
				return nil, false
			}
			s.at-- // the loop steps over the quote
			if depth == 0 {
				s.at++
				return s.text[from:s.at], true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return trimmed(s.text[from:s.at])
			}
			if depth--; depth == 0 {
				s.at++
				return s.text[from:s.at], true
			}
		case ',':
			if depth == 0 {
				return trimmed(s.text[from:s.at])
			}
		}
	}
	return nil, false
}

func trimmed(value []byte) ([]byte, bool) {
	value = bytes.TrimRight(value, " \t\r\n")
	return value, len(value) > 0
}

// string steps behind the string that begins here.
func (s *scanner) string() bool {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return true
		}
	}
	return false
}

func (s *scanner) space() {
	for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n"), s.text[s.at]) >= 0 {
		s.at++
	}
}

// take steps over spaces and then c, if it is there.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}
