package message

import (
	"bytes"
	"math"
	"strconv"
)

// appendNumber writes a JSON number as Elixir reads and writes it: an integer
// stays what it is at any size, everything else goes through float64. A fraction
// that float64 cannot hold stays as it was printed: Elixir refuses it.
func appendNumber(b, text []byte) []byte {
	if !bytes.ContainsAny(text, ".eE") {
		if len(text) == 2 && text[0] == '-' && text[1] == '0' {
			return append(b, '0') // an integer has no sign of zero
		}
		return append(b, text...)
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return append(b, text...)
	}
	return appendFloat(b, f)
}

// appendFloatColumn writes a float4 or float8. What is no number is a string.
func appendFloatColumn(b, text []byte) []byte {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return appendString(b, text)
	}
	return appendFloat(b, f)
}

// largestPlain is where Erlang begins to write every float with an exponent:
// from here on not every integer is a float.
const largestPlain = 1 << 53

// appendFloat writes f as Erlang's float_to_binary(F, [short]): the shortest
// digits that give f again, in whichever notation is shorter, and without an
// exponent when both are equally long. There is always a digit behind the point.
func appendFloat(b []byte, f float64) []byte {
	var scratch [24]byte
	// d.dddde±xx, or de±xx
	e := strconv.AppendFloat(scratch[:0], f, 'e', -1, 64)
	if e[0] == '-' {
		b = append(b, '-')
		e = e[1:]
	}
	at := bytes.IndexByte(e, 'e')
	exponent, _ := strconv.Atoi(string(e[at+1:]))
	digits := e[:1]
	if at > 1 {
		digits = append(e[:1], e[2:at]...) // over the point
	}
	if plainIsShorter(len(digits), exponent) && math.Abs(f) < largestPlain {
		return appendPlain(b, digits, exponent)
	}
	b = append(b, digits[0], '.')
	if len(digits) == 1 {
		b = append(b, '0')
	}
	b = append(b, digits[1:]...)
	return strconv.AppendInt(append(b, 'e'), int64(exponent), 10)
}

// plainIsShorter compares how many characters each notation adds to n digits.
// Exponent is that of the first digit.
func plainIsShorter(n, exponent int) bool {
	scientific := 2 + len(strconv.Itoa(exponent)) // point, e, exponent
	if n == 1 {
		scientific++ // and a zero behind the point
	}
	switch {
	case exponent < 0:
		return 1-exponent <= scientific // "0." and zeros
	case exponent >= n-1:
		return exponent-(n-1)+2 <= scientific // zeros and ".0"
	default:
		return true // only a point
	}
}

func appendPlain(b, digits []byte, exponent int) []byte {
	switch {
	case exponent < 0:
		b = append(b, '0', '.')
		for range -exponent - 1 {
			b = append(b, '0')
		}
		return append(b, digits...)
	case exponent >= len(digits)-1:
		b = append(b, digits...)
		for range exponent - (len(digits) - 1) {
			b = append(b, '0')
		}
		return append(b, '.', '0')
	default:
		b = append(b, digits[:exponent+1]...)
		b = append(b, '.')
		return append(b, digits[exponent+1:]...)
	}
}
