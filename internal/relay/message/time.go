package message

import (
	"bytes"
	"time"
)

// epoch is where Postgres counts from: 2000-01-01 UTC, in Unix microseconds.
const epoch = 946684800_000_000

const sixDigits = "2006-01-02T15:04:05.000000"

// appendTime writes the time of a commit, without quotes.
func appendTime(b []byte, micros int64) []byte {
	return append(time.UnixMicro(epoch+micros).UTC().AppendFormat(b, sixDigits), 'Z')
}

// appendTimestamp writes a timestamp without time zone.
func appendTimestamp(b, text []byte) []byte {
	if !plainTimestamp(text) {
		return appendString(b, text) // infinity, BC, year 10000: as Sequin passes them on
	}
	return append(appendMoment(append(b, '"'), text), '"')
}

// appendTimestamptz writes a timestamptz in UTC. The relay asks for UTC, so that
// as a rule there is nothing to compute.
func appendTimestamptz(b, text []byte) []byte {
	moment, utc := bytes.CutSuffix(text, []byte("+00"))
	switch {
	case utc && plainTimestamp(moment):
		return append(appendMoment(append(b, '"'), moment), 'Z', '"')
	case utc:
		return appendString(b, text)
	}
	for _, layout := range []string{"2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07:00:00"} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			return append(t.UTC().AppendFormat(append(b, '"'), sixDigits), 'Z', '"')
		}
	}
	return appendString(b, text)
}

// plainTimestamp reports "YYYY-MM-DD hh:mm:ss" with at most six more digits.
func plainTimestamp(text []byte) bool {
	const whole = len("2006-01-02 15:04:05")
	if len(text) < whole || len(text) > whole+7 || text[4] != '-' || text[10] != ' ' {
		return false
	}
	return len(text) == whole || text[whole] == '.'
}

// appendMoment puts T for the space and makes it six digits.
func appendMoment(b, text []byte) []byte {
	const whole = len("2006-01-02 15:04:05")
	b = append(b, text[:10]...)
	b = append(b, 'T')
	b = append(b, text[11:]...)
	if len(text) == whole {
		return append(b, ".000000"...)
	}
	return append(b, "000000"[len(text)-whole-1:]...)
}

// appendTimeOfDay writes a time or timetz. Sequin keeps neither its fraction nor
// its zone.
func appendTimeOfDay(b, text []byte) []byte {
	return appendString(b, text[:min(len(text), len("15:04:05"))])
}
