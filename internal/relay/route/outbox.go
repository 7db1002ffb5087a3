package route

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/finnest/event-runtime/internal/relay/pgoutput"
)

// outboxSubject is the function outbox-subject of sequin/sequin.yaml.
func outboxSubject(columns []string) Router {
	var (
		tenant    = slices.Index(columns, "tenant_id")
		ecosystem = slices.Index(columns, "ecosystem")
		eventType = slices.Index(columns, "event_type")
		eventID   = slices.Index(columns, "event_id")
		trace     = slices.Index(columns, "traceparent")
	)
	return func(to *Routed, row Row) {
		to.Subject = appendSubject(to.Subject[:0], text(row, tenant), text(row, ecosystem), text(row, eventType))
		to.MsgID = append(to.MsgID[:0], text(row, eventID)...)
		if !present(row, eventID) {
			to.MsgID = row.appendKey(to.MsgID)
		}
		to.Traceparent = to.Traceparent[:0]
		if t := text(row, trace); wellFormedTrace(t) {
			to.Traceparent = append(to.Traceparent, t...)
		}
	}
}

func present(row Row, column int) bool {
	return column >= 0 && column < len(row.Values) && row.Values[column].Kind == pgoutput.Text
}

// text is the empty string for NULL and for a column that is not there.
func text(row Row, column int) []byte {
	if !present(row, column) {
		return nil
	}
	return row.Values[column].Data
}

var interaction = []byte("interaction.")

func appendSubject(b, tenant, ecosystem, eventType []byte) []byte {
	// Cleaning makes no letter of anything else, so the raw type tells.
	if bytes.HasPrefix(eventType, interaction) {
		b = appendToken(append(b, "interactions."...), tenant)
		return appendToken(append(b, '.'), ecosystem)
	}
	b = appendToken(append(b, "events."...), tenant)
	b = appendToken(append(b, '.'), ecosystem)
	for more := true; more; {
		var token []byte
		token, eventType, more = bytes.Cut(eventType, []byte("."))
		b = appendToken(append(b, '.'), token)
	}
	return b
}

// appendToken writes a value as one token of a subject: whatever NATS might
// refuse is one underscore a code point, and so is an empty value.
func appendToken(b, value []byte) []byte {
	if len(value) == 0 {
		return append(b, '_')
	}
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf {
			if !plain(c) {
				c = '_'
			}
			b = append(b, c)
			i++
			continue
		}
		_, size := utf8.DecodeRune(value[i:])
		b = append(b, '_')
		i += size
	}
	return b
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// wellFormedTrace reports a W3C traceparent in lower case. It is read for each
// row, so it is no regular expression; a test compares it with one.
func wellFormedTrace(t []byte) bool {
	if len(t) != 55 {
		return false
	}
	for i, c := range t {
		if i == 2 || i == 35 || i == 52 {
			if c != '-' {
				return false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
