package message

// Encoder appends the JSON for a value that Postgres printed.
type Encoder func(b, text []byte) []byte

// Type is what the catalog says of a column's type, its domain resolved.
type Type struct {
	OID   uint32
	Array bool // of elements of that type
}

// EncoderOf chooses how the values of a type are written. Whatever has no rule of
// its own is a string, as Postgres prints it: text, enum, numeric, money, bytea,
// inet, xml, ranges.
func EncoderOf(t Type) Encoder {
	element := scalar(t.OID)
	if !t.Array {
		return element
	}
	return func(b, text []byte) []byte { return appendArray(b, text, element) }
}

// Object ids of the types whose values are not strings as printed. They are the
// same in every Postgres.
const (
	oidBool        = 16
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidTimetz      = 1266
	oidJSONB       = 3802
)

func scalar(oid uint32) Encoder {
	switch oid {
	case oidBool:
		return appendBool
	case oidInt2, oidInt4, oidInt8, oidOID:
		return appendVerbatim
	case oidFloat4, oidFloat8:
		return appendFloatColumn
	case oidJSONB:
		return appendJSON
	case oidJSON:
		return appendLooseJSON
	case oidTimestamptz:
		return appendTimestamptz
	case oidTimestamp:
		return appendTimestamp
	case oidTime, oidTimetz:
		return appendTimeOfDay
	case oidInterval:
		return appendInterval
	default:
		return appendString
	}
}
