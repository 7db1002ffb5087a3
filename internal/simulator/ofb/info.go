package ofb

import "slices"

// infoFields are the listed properties of a client's additionalInfo. PCM discards
// for their types and for five domains; everything else about them is a matter of
// quality tickets, and a key that is not listed is nobody's concern.
var infoFields = map[string]kind{
	"consentId": text, "recurringConsentId": text, "enrollmentId": text, "personType": text,
	"companyProfileInfo": object, "status": text, "dropReason": text, "paymentType": text,
	"localInstrument": text, "authorisationFlow": text, "authorisationFlowIntent": text,
	"grantType": text, "tokenId": text, "webhookEnable": text, "webhookInteractionId": text,
	"statusSummary": object, "rejectionReasonCode": text, "rejectionReasonDetail": text,
	"rejectedBy": text, "rejectedFrom": text, "revocationReasonCode": text,
	"revocationReasonDetail": text, "revokedBy": text, "revokedFrom": text,
	"cancellationReason": text, "cancelledFrom": text, "paymentDate": text,
	"paymentSchedule": text, "paymentList": array, "amountType": text, "interval": text,
	"isFirstPayment": text, "hasMinimumAmount": text, "isRetryAccepted": text,
	"referenceStartDate": text, "paymentReference": text, "originalRecurringPaymentId": text,
	"recurringPaymentId": text, "recurringPaymentDate": text, "journeyIsLinked": text,
	"journeyLinkId": text, "nfcPayment": text, "platform": text, "rp": text,
	"authenticatorAttachment": text, "clientIp": text, "rejectReason": text,
}

// infoDomains are the five domains that discard.
var infoDomains = map[string][]string{
	"paymentType":   {"IMMEDIATE", "SCHEDULED", "RECURRENT", "SWEEPING", "AUTOMATIC", "WITHDRAW", "CHANGE"},
	"personType":    {"PF", "PJ", "PESSOA_NATURAL", "PESSOA_JURIDICA"},
	"dropReason":    {"NO_AUTHORITY", "NO_AUTHORITY_PERSON_MISMATCH", "NO_CREDENTIAL", "NONE", "CREDENTIAL_UNAVAILABLE"},
	"cancelledFrom": {"INICIADORA", "DETENTORA"},
	"grantType":     {"AUTHORIZATION_CODE", "REFRESH_TOKEN", "CLIENT_CREDENTIALS"},
}

func (c *check) readInfo(v value) {
	v.members(func(name []byte, field value) {
		// The server's model lists dropReason and nothing else.
		if c.report.role == server && string(name) != "dropReason" {
			return
		}
		if string(name) == "errorCodes" {
			c.readErrorCodes(field)
			return
		}
		want, listed := infoFields[string(name)]
		if !listed {
			return
		}
		if field.kind != want {
			c.fault(msgType("additionalInfo."+string(name), want, field.kind))
			return
		}
		if domain := infoDomains[string(name)]; domain != nil && !slices.Contains(domain, string(field.text())) {
			c.fault(msgEnum("additionalInfo."+string(name), domain, string(field.text())))
		}
	})
}

// readErrorCodes takes both readings of the sources: one string, or a list of at
// most one. More than one is a quality matter ("Multiplos itens").
func (c *check) readErrorCodes(v value) {
	switch v.kind {
	case text:
	case array:
		v.elements(func(code value) bool {
			if code.kind != text {
				c.fault(msgType("additionalInfo.errorCodes.0", text, code.kind))
			}
			return code.kind == text
		})
	default:
		c.fault(msgType("additionalInfo.errorCodes", text, v.kind))
	}
}
