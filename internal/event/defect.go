package event

// Reason says why a message cannot be used. It is a closed set: metric label,
// quarantine reason and log field at once.
type Reason string

// The reasons of a message that no retry will mend.
const (
	Unreadable    Reason = "unreadable"     // not UTF-8, not one JSON object, duplicate keys, too deep, trailing bytes
	TooLarge      Reason = "too_large"      // beyond the size limits
	SchemaUnknown Reason = "schema_unknown" // a type or version that this release does not know
	SchemaInvalid Reason = "schema_invalid" // against the schema of its type, or of the record
	Unstorable    Reason = "unstorable"     // NUL, integers beyond 2^53, years outside 1 to 9999
	PersonalData  Reason = "personal_data"  // free text that looks like personal data
	Undeliverable Reason = "undeliverable"  // an endpoint took it in none of the attempts it is given
)

// Defect is what is wrong with a message, and where. It never holds a value.
type Defect struct {
	Reason Reason
	Where  string // a field path such as payload.statusCode, or a byte position
}

func (d *Defect) Error() string { return string(d.Reason) + " at " + d.Where }
