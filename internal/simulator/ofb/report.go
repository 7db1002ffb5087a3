package ofb

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// role is the side of a call that a report speaks for.
type role uint8

const (
	noRole role = iota // unreadable
	client
	server
)

func (r role) String() string { return [...]string{"", "CLIENT", "SERVER"}[r] }

func (r role) other() role { return [...]role{noRole, server, client}[r] }

func roleOf(s []byte) role {
	switch string(s) {
	case "CLIENT":
		return client
	case "SERVER":
		return server
	default:
		return noRole
	}
}

// report is what pairing, the ledger and the receipt need of an item. A field of a
// discarded item is zero where the item did not say it in a way that can be read.
type report struct {
	open        bool // of open data: no other side, and nothing that the platform tells it apart by
	role        role
	interaction uuid.UUID
	client      uuid.UUID // zero when the directory does not know it, as is server
	server      uuid.UUID
	endpoint    string // the template as listed
	method      string
	status      int
	timestamp   time.Time
	timespan    float64
	correlation []byte // the JSON string to echo
	raw         []byte
}

// party is the organisation in whose name the report speaks.
func (r report) party() uuid.UUID {
	switch r.role {
	case client:
		return r.client
	case server:
		return r.server
	default:
		return uuid.Nil
	}
}

// submitted is a report that nobody sent, as its sender would have written it.
func (r report) submitted() []byte {
	raw, _ := json.Marshal(struct {
		Interaction uuid.UUID `json:"fapiInteractionId"`
		Endpoint    string    `json:"endpoint"`
		Status      int       `json:"statusCode"`
		Method      string    `json:"httpMethod"`
		Timestamp   string    `json:"timestamp"`
		Timespan    float64   `json:"processTimespan"`
		Client      uuid.UUID `json:"clientOrgId"`
		Server      uuid.UUID `json:"serverOrgId"`
		Role        string    `json:"role"`
	}{r.interaction, r.endpoint, r.status, r.method, formatTimestamp(r.timestamp), r.timespan, r.client, r.server, r.role.String()})
	return raw
}
