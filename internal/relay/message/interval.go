package message

import (
	"bytes"
	"strconv"
)

// appendInterval reads the style "postgres": 1 year 2 mons -3 days -04:05:06.789.
// The relay asks for that style.
func appendInterval(b, text []byte) []byte {
	var months, days, micros int64
	fields := bytes.Fields(text)
	for i := 0; i < len(fields); i++ {
		if bytes.IndexByte(fields[i], ':') >= 0 {
			clock, ok := clockMicros(fields[i])
			if !ok {
				return appendString(b, text)
			}
			micros = clock
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimPrefix(fields[i], []byte("+"))), 10, 64)
		if err != nil || i+1 == len(fields) {
			return appendString(b, text)
		}
		i++
		switch string(bytes.TrimSuffix(fields[i], []byte("s"))) {
		case "year":
			months += 12 * n
		case "mon":
			months += n
		case "day":
			days += n
		default:
			return appendString(b, text)
		}
	}
	b = strconv.AppendInt(append(b, `{"months":`...), months, 10)
	b = strconv.AppendInt(append(b, `,"days":`...), days, 10)
	b = strconv.AppendInt(append(b, `,"microseconds":`...), micros, 10)
	return append(b, '}')
}

// clockMicros reads [+-]h:mm:ss[.ffffff].
func clockMicros(text []byte) (micros int64, ok bool) {
	negative := text[0] == '-'
	clock, fraction, _ := bytes.Cut(bytes.TrimLeft(text, "+-"), []byte("."))
	parts := bytes.Split(clock, []byte(":"))
	if len(parts) != 3 || len(fraction) > 6 {
		return 0, false
	}
	digits := string(fraction) + "000000"[len(fraction):]
	for i, unit := range []int64{3600_000_000, 60_000_000, 1_000_000} {
		n, err := strconv.ParseUint(string(parts[i]), 10, 32)
		if err != nil {
			return 0, false
		}
		micros += int64(n) * unit
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if negative {
		return -micros - int64(n), err == nil
	}
	return micros + int64(n), err == nil
}
