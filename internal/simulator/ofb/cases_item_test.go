package ofb

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// sent is one item, who sends it, and what its receipt says: ACCEPTED or a message.
type sent struct {
	by   string // empty: araucaria
	item item
	want string
}

// TestItemCases are the cases about one item. Base items are C and S of the contract.
func TestItemCases(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return formatTimestamp(epoch.Add(d)) }
	c := callAt(someID, epoch)
	s := c.without("clientSSId", "endpointUriPrefix", "additionalInfo", "correlationId").with("role", "SERVER")
	const tooOld, future = "Validation error: Report is too old", "Invalid value: timestamp must not be in the future"
	const badDate = "Invalid format: timestamp: Invalid date"
	for name, c := range map[string]struct {
		cfg   Config
		items []sent
	}{
		"case 20: a path with real ids is not a template": {items: []sent{
			{item: c.with("endpoint", "/open-banking/accounts/v2/accounts/123/balances"), want: "Unlisted endpoint: /open-banking/accounts/v2/accounts/123/balances"},
		}},
		"case 21: seven days are the age of a report": {items: []sent{
			{item: c.with("timestamp", at(-7*24*time.Hour+time.Minute)), want: "ACCEPTED"},
			{item: c.with("timestamp", at(-7*24*time.Hour)), want: "ACCEPTED"},
			{item: c.with("timestamp", at(-7*24*time.Hour-time.Minute)), want: tooOld},
		}},
		"case 22: five minutes are what a clock may be ahead": {items: []sent{
			{item: c.with("timestamp", at(4*time.Minute)), want: "ACCEPTED"},
			{item: c.with("timestamp", at(5*time.Minute)), want: "ACCEPTED"},
			{item: c.with("timestamp", at(6*time.Minute)), want: future},
		}},
		"case 23: timestamps have three fraction digits and Z": {items: []sent{
			{item: c.with("timestamp", "2026-09-10T10:00:00Z"), want: badDate},
			{item: c.with("timestamp", "2026-09-10T10:00:00.000+03:00"), want: badDate},
			{item: c.with("timestamp", "2026-09-10T10:00:00,000Z"), want: badDate},
			{item: c.with("timestamp", "2026-09-31T10:00:00.000Z"), want: badDate},
			{item: c.with("timestamp", "2026-09-10T24:00:00.000Z"), want: badDate},
		}},
		"case 23: or what the 4.0.0 pattern takes, where that is asked for": {cfg: Config{LenientTimestamps: true}, items: []sent{
			{item: c.with("timestamp", "2026-09-10T10:00:00Z"), want: "ACCEPTED"},
			{item: c.with("timestamp", "2026-09-10T10:00:00.12+03:00"), want: "ACCEPTED"},
			{item: c.with("timestamp", "2026-09-10 10:00:00Z"), want: badDate},
		}},
		"case 24: only the conglomerate speaks for an organisation": {items: []sent{
			{by: ipe, item: c, want: "Requester id mismatch with clientOrgId"},
			{by: jatoba, item: s, want: "Requester id mismatch with serverOrgId"},
			{by: pagamentos, item: c, want: "ACCEPTED"},
		}},
		"case 25: a server report knows no software statement": {items: []sent{
			{by: ipe, item: s.with("clientSSId", c["clientSSId"]), want: "Invalid format: : Unrecognized key(s) in object: 'clientSSId'"},
			{by: ipe, item: s.with("endpointUriPrefix", "x"), want: "Unrecognized key(s) in object: 'endpointUriPrefix'"},
			{by: ipe, item: s.with("additionalInfo", item{"dropReason": "NONE"}), want: "ACCEPTED"},
			{item: c.with("serverASId", someID), want: "Unrecognized key(s) in object: 'serverASId'"},
		}},
		"case 26: a client report has additionalInfo, be it empty": {items: []sent{
			{item: c.without("additionalInfo"), want: "Invalid type: additionalInfo: Required"},
			{item: c.with("additionalInfo", nil), want: "Invalid type: additionalInfo: Expected object, received null"},
			{item: c.with("additionalInfo", item{}), want: "ACCEPTED"},
		}},
		"case 27: status, method and timespan have their domains": {items: []sent{
			{item: c.with("statusCode", 199), want: "Invalid value: statusCode must be between 200 and 599"},
			{item: c.with("statusCode", 600), want: "Invalid value: statusCode must be between 200 and 599"},
			{item: c.with("statusCode", 200.5), want: "Expected integer, received float"},
			{item: c.with("statusCode", "200"), want: "Invalid type: statusCode: Expected number, received string"},
			{item: c.with("httpMethod", "HEAD"), want: "Invalid value: httpMethod: Invalid enum value. Expected 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH', received 'HEAD'"},
			{item: c.with("processTimespan", 0), want: "Invalid value: processTimespan must be greater than zero"},
			{item: c.with("processTimespan", json.RawMessage("1e400")), want: "Number must be finite"},
		}},
		"case 28: a timespan is any number above zero": {items: []sent{
			{item: c.with("processTimespan", 60000), want: "ACCEPTED"},
			{item: c.with("processTimespan", 120.000001), want: "ACCEPTED"},
		}},
		"case 29: the interaction id is there and not zero": {items: []sent{
			{item: c.without("fapiInteractionId").with("statusCode", 408), want: "Missing property: fapiInteractionId is required"},
			{item: c.without("fapiInteractionId").with("statusCode", 408).with("endpoint", "/token"), want: "fapiInteractionId can't be empty for status 408 or 500"},
			{item: c.with("fapiInteractionId", ""), want: "Missing property, fapiInteractionId can't be empty"},
			{item: c.with("fapiInteractionId", "d78fc4e5"), want: "Invalid format: fapiInteractionId: Invalid uuid"},
			{item: c.with("fapiInteractionId", uuid.Nil.String()), want: `Invalid type: fapiInteractionId mismatch. Ensure the ID is not "00000000-0000-0000-0000-000000000000."`},
		}},
		"case 40: payments v4 left the list on 2026-08-26": {items: []sent{
			{item: c.with("endpoint", "/open-banking/payments/v4/consents"), want: "Unlisted endpoint: /open-banking/payments/v4/consents"},
			{item: c.with("endpoint", "/open-banking/payments/v5/consents"), want: "ACCEPTED"},
		}},
		"organisations and software statements are in the directory": {items: []sent{
			{item: c.with("clientOrgId", someID), want: "invalid value: Client organization ID not in directory"},
			{item: c.with("serverOrgId", someID), want: "invalid value: Server organization ID not in directory"},
			{item: c.with("clientSSId", "22b2c0de-0003-4b00-8b00-000000000051"), want: "Invalid value: Client SSID not found in combined org IDs"},
			{item: c.with("clientSSId", "11a1c0de-0002-4a00-8a00-000000000051"), want: "ACCEPTED"},
			{item: c.with("clientSSId", ""), want: "Invalid field type, clientSSId should not be empty"},
		}},
		"additionalInfo is discarded for types and five domains only": {items: []sent{
			{item: c.with("additionalInfo", item{"consentId": 7}), want: "Invalid type: additionalInfo.consentId: Expected string, received number"},
			{item: c.with("additionalInfo", item{"personType": "PX"}), want: "Invalid value: additionalInfo.personType: Invalid enum value."},
			{item: c.with("additionalInfo", item{"grantType": "IMPLICIT"}), want: "additionalInfo.grantType"},
			{item: c.with("additionalInfo", item{"statusSummary": "x"}), want: "additionalInfo.statusSummary: Expected object"},
			{item: c.with("additionalInfo", item{"errorCodes": []any{1}}), want: "additionalInfo.errorCodes.0: Expected string"},
			{item: c.with("additionalInfo", item{"errorCodes": []string{"A"}, "localInstrument": "none of the domain", "consentId": "no urn"}), want: "ACCEPTED"},
			{item: c.with("additionalInfo", item{"errorCodes": "A", "whatever": 1, "companyProfileInfo": item{"naturezaJuridica": "x"}, "paymentList": []any{}}), want: "ACCEPTED"},
			{by: ipe, item: s.with("additionalInfo", item{"dropReason": "TIRED"}), want: "additionalInfo.dropReason: Invalid enum value."},
		}},
		"a report without a role is judged by what both roles share": {items: []sent{
			{item: c.without("role"), want: "Invalid type: role: Required"},
			{item: c.with("role", "PROXY"), want: "Invalid value: role: Invalid enum value. Expected 'CLIENT' | 'SERVER', received 'PROXY'"},
		}},
		"free texts are short and plain": {items: []sent{
			{item: c.with("correlationId", strings.Repeat("a", 100)), want: "ACCEPTED"},
			{item: c.with("correlationId", strings.Repeat("a", 101)), want: "Invalid format: correlationId: Invalid correlationId format"},
			{item: c.with("correlationId", "não"), want: "Invalid format: correlationId: Invalid correlationId format"},
			{item: c.with("endpointUriPrefix", "https://x/?a=b"), want: "endpointUriPrefix"},
			{item: c.with("endpointUriPrefix", ""), want: "Missing property, endpointUriPrefix can't be empty"},
		}},
		"all faults of an item are told, as far as 200 characters go": {items: []sent{
			{item: item{}, want: "Invalid type: endpoint: Required; Invalid type: statusCode: Required; Invalid type: httpMethod: Required"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, c.cfg)
			for _, s := range c.items {
				setDefault(&s.by, araucaria)
				status := http.StatusMultiStatus
				if s.want == "ACCEPTED" {
					status = http.StatusOK
				}
				b.wantReceipts(b.report(s.by, s.item), status, s.want)
			}
		})
	}
}

func TestCatalogueHoldsOneHundredAndOneCurrentPrivateTemplates(t *testing.T) {
	t.Parallel()
	list, err := readCatalogue(endpointsCSV, "private")
	if err != nil {
		t.Fatal(err)
	}
	count := func(day string) (n int) {
		now, _ := time.Parse(time.DateOnly, day)
		for template := range list {
			if _, ok := list.find([]byte(template), now); ok {
				n++
			}
		}
		return n
	}
	for day, want := range map[string]int{"2026-09-10": 101, "2026-08-26": 101, "2026-08-25": 101 + 6, "2026-03-01": 101 + 6 - 1 - 5} {
		if got := count(day); got != want {
			t.Errorf("%s: got %d templates, want %d", day, got, want)
		}
	}
}

// Where the own rules have a gap, the official document closes it.
func TestTheOfficialDocumentHasTheLastWord(t *testing.T) {
	t.Parallel()
	r := testRules(t, true)
	stricter := *r.official.client
	stricter.Required = append([]string{"somethingNew"}, stricter.Required...)
	r.official = &official{client: &stricter, server: r.official.server}
	raw, _ := json.Marshal(callAt(someID, epoch))
	v, _ := first(raw)
	if _, message := r.judge(v, uuid.MustParse(araucaria), epoch); message != msgUnmapped {
		t.Errorf("got %q, want %q", message, msgUnmapped)
	}
}

func TestMessagesAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	if got := joinMessages([]string{strings.Repeat("ã", 150), strings.Repeat("ç", 150)}); got != strings.Repeat("ã", 150)+"; "+strings.Repeat("ç", 48) {
		t.Errorf("got %q", got)
	}
}
