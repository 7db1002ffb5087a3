package ofb

import (
	"strings"
	"unicode/utf8"
)

// The texts are the platform's own, odd capitals and quotes included: there are no
// machine codes, so whoever reads a discard reads these prefixes.
const (
	msgZeroInteraction = `Invalid type: fapiInteractionId mismatch. Ensure the ID is not "00000000-0000-0000-0000-000000000000."`
	msgNoInteraction   = "Missing property: fapiInteractionId is required"
	msgNoInteraction5  = "Invalid field value fapiInteractionId can't be empty for status 408 or 500"
	msgEmptyStatement  = "Invalid field type, clientSSId should not be empty"
	msgCorrelation     = "Invalid format: correlationId: Invalid correlationId format"
	msgPrefix          = "Invalid format: endpointUriPrefix: Invalid endpointUriPrefix format"
	msgStatusRange     = "Invalid value: statusCode must be between 200 and 599"
	msgStatusInteger   = "Invalid type: statusCode: Expected integer, received float"
	msgTimespan        = "Invalid value: processTimespan must be greater than zero"
	msgTimespanFinite  = "Invalid type: processTimespan: Number must be finite"
	msgTimestamp       = "Invalid format: timestamp: Invalid date"
	msgTooOld          = "Validation error: Report is too old"
	msgFuture          = "Invalid value: timestamp must not be in the future"
	msgClientIP        = "Invalid format: additionalInfo.clientIp: Invalid ip"
	msgClientUnknown   = "invalid value: Client organization ID not in directory"
	msgServerUnknown   = "invalid value: Server organization ID not in directory"
	msgNotClient       = "Requester id mismatch with clientOrgId"
	msgNotServer       = "Requester id mismatch with serverOrgId"
	msgStatement       = "Invalid value: Client SSID not found in combined org IDs"
	msgDuplicate       = "Validation error: Report already exists"
	msgUnmapped        = "Error not mapped or not expected by validations"
	msgNotObject       = "Invalid type: : Expected object, received "
)

// maxMessage is the length of a receipt's message in characters.
const maxMessage = 200

func msgRequired(field string) string { return "Invalid type: " + field + ": Required" }

func msgEmpty(field string) string { return "Missing property, " + field + " can't be empty" }

func msgUUID(field string) string { return "Invalid format: " + field + ": Invalid uuid" }

func msgType(field string, want, got kind) string {
	return "Invalid type: " + field + ": Expected " + want.String() + ", received " + got.String()
}

func msgEnum(field string, domain []string, got string) string {
	return "Invalid value: " + field + ": Invalid enum value. Expected '" +
		strings.Join(domain, "' | '") + "', received '" + got + "'"
}

func msgUnlisted(endpoint string) string { return "Unlisted endpoint: " + endpoint }

func msgStrangers(keys []string) string {
	return "Invalid format: : Unrecognized key(s) in object: '" + strings.Join(keys, "', '") + "'"
}

// joinMessages is the one message of an item that has all these faults.
func joinMessages(faults []string) string {
	return cut(strings.ToValidUTF8(strings.Join(faults, "; "), "\uFFFD"), maxMessage)
}

// cut keeps the first n characters of s, never half of one.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
