package denylist

// trait is something that one byte says about the text around it.
type trait uint16

const (
	wide    trait = 1 << iota // beyond ASCII
	veil                      // % + \ : an escape of some kind
	at                        // @
	dot                       // .
	colon                     // :
	quote                     // "
	equals                    // =
	slash                     // /
	dash                      // -
	blank                     // space and tab
	number                    // a digit
	base                      // in one of the base64 alphabets
	baseURL                   // - and _, in the URL alphabet only
	baseStd                   // + and /, in the standard alphabet only

	// suspicious traits can make a hit without digits. A slash cannot, nor can
	// base64, which hidden looks at.
	suspicious = at | dot | colon | quote | equals | blank | dash
)

// fewestDigits is what the shortest number needs: 1.1.1.1, or a branch.
const fewestDigits = 4

var traits = traitTable()

func traitTable() (t [256]trait) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = number | base
		case isLetter(byte(c)):
			t[c] = base
		case c >= 0x80:
			t[c] = wide
		}
	}
	t['%'], t['\\'], t['+'] = veil, veil, veil|base|baseStd
	t['@'], t['.'], t[':'], t['"'], t['='] = at, dot, colon, quote, equals
	t['/'], t['-'], t['_'] = slash|base|baseStd, dash|base|baseURL, base|baseURL
	t[' '], t['\t'] = blank, blank
	return t
}

// profile is what one pass over a text tells: which bytes occur, how many
// digits, and the longest run that could be base64.
type profile struct {
	traits      trait
	digits, run int
}

func (p profile) has(t trait) bool { return p.traits&t == t }

func profileOf(s string) (p profile) {
	run := 0
	for i := range len(s) {
		t := traits[s[i]]
		p.traits |= t
		if t&base == 0 {
			run = 0
			continue
		}
		run++
		p.run = max(p.run, run)
		p.digits += int(t/number) & 1
	}
	return p
}

func isDigit(c byte) bool  { return c-'0' < 10 }
func isLetter(c byte) bool { return (c|0x20)-'a' < 26 }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isSpace(c byte) bool  { return c == ' ' || c-'\t' < 5 }

// peek reads a byte of s, or 0 beyond either end, so that scanners can look
// around themselves without asking where the text stops.
func peek(s string, i int) byte {
	if i < 0 || i >= len(s) {
		return 0
	}
	return s[i]
}

// same compares without case; want is in lower case.
func same(s, want string) bool {
	if len(s) != len(want) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if isLetter(c) {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
