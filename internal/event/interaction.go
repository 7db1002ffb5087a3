package event

import (
	"bytes"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Types of captured calls.
const (
	InteractionCompleted = "interaction.completed"
	InteractionCanary    = "interaction.canary"
)

// Role is the side that reports a call.
type Role string

// The two sides of a call.
const (
	Client Role = "CLIENT"
	Server Role = "SERVER"
)

// Interaction is the payload of interaction.completed, version 1
// (schema/interaction.completed.v1.json).
type Interaction struct {
	Role              Role           `json:"role"`
	InteractionID     string         `json:"fapiInteractionId"`
	InteractionIDMade bool           `json:"fapiInteractionIdMade,omitzero"`
	Endpoint          string         `json:"endpoint"`
	Method            string         `json:"httpMethod"`
	StatusCode        int            `json:"statusCode"`
	Timestamp         string         `json:"timestamp"`       // RFC 3339
	ProcessTimespan   float64        `json:"processTimespan"` // milliseconds
	ClientOrgID       string         `json:"clientOrgId,omitzero"`
	ServerOrgID       string         `json:"serverOrgId,omitzero"`
	ClientSSID        string         `json:"clientSSId,omitzero"`
	EndpointURIPrefix string         `json:"endpointUriPrefix,omitzero"`
	CorrelationID     string         `json:"correlationId,omitzero"`
	AdditionalInfo    jsontext.Value `json:"additionalInfo,omitzero"` // an object of the fields that the schema names
}

// ParseInteraction reads a payload that Catalog.Check let pass.
func ParseInteraction(payload []byte) (*Interaction, error) {
	var i Interaction
	if err := json.Unmarshal(payload, &i, json.RejectUnknownMembers(true)); err != nil {
		return nil, &Defect{SchemaInvalid, "payload"}
	}
	return &i, nil
}

// At is when the call began.
func (i *Interaction) At() (time.Time, error) { return ParseTime(i.Timestamp) }

var (
	endpointPattern = regexp.MustCompile(`^/[A-Za-z0-9/_.{}:-]{0,299}$`)
	timePattern     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)
)

// plainInteraction reports a payload that is surely valid against the schema,
// at a fraction of a validator's cost. False means: ask the validator, which
// also knows what is wrong.
func plainInteraction(payload []byte) bool {
	if bytes.Contains(payload, []byte("null")) {
		return false // would decode like an absent field
	}
	i, err := ParseInteraction(payload)
	if err != nil {
		return false
	}
	at, err := i.At()
	return err == nil && at.Year() > 1 && at.Year() < 9999 && timePattern.MatchString(i.Timestamp) &&
		(i.Role == Client || i.Role == Server) &&
		plainUUID(i.InteractionID) && i.InteractionID != ID{}.String() &&
		endpointPattern.MatchString(i.Endpoint) &&
		capitals(i.Method, 3, 10) &&
		i.StatusCode >= 100 && i.StatusCode <= 599 &&
		i.ProcessTimespan > 0 && i.ProcessTimespan <= 86400000 &&
		optionalUUID(i.ClientOrgID) && optionalUUID(i.ServerOrgID) && optionalUUID(i.ClientSSID) &&
		free(i.EndpointURIPrefix, 200) && free(i.CorrelationID, 100) &&
		!bytes.Contains(payload, []byte(`":""`)) && // an empty string decodes like an absent one
		plainAdditionalInfo(i.AdditionalInfo)
}

// plainAdditionalInfo accepts an object of known names and short strings. Lists
// and nested objects are rare: the validator looks at them.
func plainAdditionalInfo(v jsontext.Value) bool {
	if v == nil {
		return true
	}
	var fields map[string]string
	if json.Unmarshal(v, &fields) != nil {
		return false
	}
	for name, value := range fields {
		if !additionalStrings[name] || utf8.RuneCountInString(value) > 500 {
			return false
		}
	}
	return true
}

func plainUUID(s string) bool {
	_, err := ParseID(s)
	return err == nil
}

func optionalUUID(s string) bool { return s == "" || plainUUID(s) }

func capitals(s string, least, most int) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

// free is the regulator's FREE n pattern: ^[- /:_.',0-9a-zA-Z]{0,n}$.
func free(s string, most int) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case bytes.IndexByte([]byte("- /:_.',"), c) >= 0:
		default:
			return false
		}
	}
	return len(s) <= most
}

// FreeText are the fields that a person may have written, by their path in the
// payload.
func (i *Interaction) FreeText() map[string]string {
	var reasons struct {
		Cancellation string `json:"cancellationReason"`
		Rejection    string `json:"rejectionReasonDetail"`
		Revocation   string `json:"revocationReasonDetail"`
	}
	if i.AdditionalInfo != nil {
		_ = json.Unmarshal(i.AdditionalInfo, &reasons) // the schema made them strings
	}
	return map[string]string{
		"additionalInfo.cancellationReason": reasons.Cancellation, "additionalInfo.rejectionReasonDetail": reasons.Rejection,
		"additionalInfo.revocationReasonDetail": reasons.Revocation, "correlationId": i.CorrelationID,
	}
}
