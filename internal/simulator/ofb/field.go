package ofb

// field is one property of a private report and what it needs of each role.
type field struct {
	name   string
	kind   kind
	client need
	server need
	read   func(*check, value) // called with a value of the right kind, not empty
}

type need uint8

const (
	optional need = iota
	required
	forbidden
	// expected is required too, but its absence has messages of its own.
	expected
)

// The fields in the order in which their faults are reported.
const (
	fInteraction = iota
	fEndpoint
	fStatus
	fMethod
	fTimestamp
	fTimespan
	fClient
	fServer
	fRole
	fCorrelation
	fStatement
	fPrefix
	fInfo
	fieldCount
)

var fields = [fieldCount]field{
	fInteraction: {"fapiInteractionId", text, expected, expected, (*check).readInteraction},
	fEndpoint:    {"endpoint", text, required, required, (*check).readEndpoint},
	fStatus:      {"statusCode", number, required, required, (*check).readStatus},
	fMethod:      {"httpMethod", text, required, required, (*check).readMethod},
	fTimestamp:   {"timestamp", text, required, required, (*check).readTimestamp},
	fTimespan:    {"processTimespan", number, required, required, (*check).readTimespan},
	fClient:      {"clientOrgId", text, required, required, (*check).readClient},
	fServer:      {"serverOrgId", text, required, required, (*check).readServer},
	fRole:        {"role", text, required, required, (*check).readRole},
	fCorrelation: {"correlationId", text, optional, optional, (*check).readCorrelation},
	fStatement:   {"clientSSId", text, required, forbidden, (*check).readStatement},
	fPrefix:      {"endpointUriPrefix", text, required, forbidden, (*check).readPrefix},
	fInfo:        {"additionalInfo", object, required, optional, (*check).readInfo},
}

// of is what the field needs of a report of this role. A report without a readable
// role is asked only for what both roles ask.
func (f field) of(side role) need {
	switch {
	case side == client:
		return f.client
	case side == server:
		return f.server
	case f.client == f.server:
		return f.client
	default:
		return optional
	}
}

func fieldNamed(name []byte) (int, bool) {
	for i := range fields {
		if string(name) == fields[i].name {
			return i, true
		}
	}
	return 0, false
}

// isFree reports whether s is of the platform's free text: ^[- /:_.',0-9a-zA-Z]{0,n}$.
func isFree(s []byte, n int) bool {
	if len(s) > n {
		return false
	}
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c == '-', c == ' ', c == '/', c == ':', c == '_', c == '.', c == '\'', c == ',':
		default:
			return false
		}
	}
	return true
}

const (
	maxCorrelation = 100
	maxPrefix      = 200
)
