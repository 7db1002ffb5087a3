package ofb

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

const openPath = "/report-api/v1/opendata/report"

// openCall is a valid report of open data; n tells two of them apart.
func (b *bench) openCall(n int) item {
	return item{"endpoint": "/open-banking/opendata-loans/v1/business-loans", "statusCode": 200, "httpMethod": "GET",
		"timestamp": formatTimestamp(b.clock.now().Add(-time.Hour)), "processTimespan": 100 + n, "additionalInfo": item{"clientIp": "203.0.113.7"}}
}

func (b *bench) openReport(org string, items ...item) reply {
	b.Helper()
	body, err := json.Marshal(items)
	if err != nil {
		b.Fatal(err)
	}
	r := b.api(org, b.request(http.MethodPost, b.sim.APIURL()+openPath, jsonType, string(body)))
	if r.err == nil && !b.faulty {
		conforms(b.T, openPath, http.MethodPost, r.status, r.body)
	}
	_ = json.Unmarshal(r.body, &r.receipts)
	return r
}

func TestOpenDataItems(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	ok, info := b.openCall(0), func(v any) item { return b.openCall(0).with("additionalInfo", v) }
	for name, tc := range map[string]struct {
		item item
		want string
	}{
		"case 34: with clientIp":          {ok, "ACCEPTED"},
		"case 34: with fapiInteractionId": {ok.with("fapiInteractionId", someID), "Invalid format: : Unrecognized key(s) in object: 'fapiInteractionId'"},
		"an IPv6 address":                 {info(item{"clientIp": "2001:db8::7"}), "ACCEPTED"},
		"no address":                      {info(item{}), "Invalid type: additionalInfo.clientIp: Required"},
		"an empty address":                {info(item{"clientIp": ""}), "Missing property, additionalInfo.clientIp can't be empty"},
		"an address that is none":         {info(item{"clientIp": "203.0.113.300"}), "Invalid format: additionalInfo.clientIp: Invalid ip"},
		"an address with a port":          {info(item{"clientIp": "203.0.113.7:443"}), "Invalid format: additionalInfo.clientIp: Invalid ip"},
		"a number for an address":         {info(item{"clientIp": 7}), "Invalid type: additionalInfo.clientIp: Expected string, received number"},
		"what was withdrawn in 2026B":     {info(item{"clientIp": "203.0.113.7", "tokenId": "abcdefghijkl"}), "Unrecognized key(s) in object: 'tokenId'"},
		"no additionalInfo":               {ok.without("additionalInfo"), "Invalid type: additionalInfo: Required"},
		"an organisation":                 {ok.with("serverOrgId", araucaria), "Unrecognized key(s) in object: 'serverOrgId'"},
		"a role":                          {ok.with("role", "SERVER"), "Unrecognized key(s) in object: 'role'"},
		"a private endpoint":              {ok.with("endpoint", accountsEndpoint), "Unlisted endpoint: " + accountsEndpoint},
		"too old":                         {ok.with("timestamp", formatTimestamp(b.clock.now().Add(-maxAge-time.Minute))), "Report is too old"},
		"no fraction in the timestamp":    {ok.with("timestamp", "2026-09-01T10:00:00Z"), "Invalid format: timestamp"},
		"no timespan":                     {ok.with("processTimespan", 0), "processTimespan must be greater than zero"},
	} {
		t.Run(name, func(t *testing.T) {
			c := *b
			c.T = t
			status := http.StatusMultiStatus
			if tc.want == "ACCEPTED" {
				status = http.StatusOK
			}
			c.wantReceipts(c.openReport(araucaria, tc.item), status, tc.want)
		})
	}
	if r := b.report(araucaria, b.call(someID).with("endpoint", "/open-banking/opendata-loans/v1/business-loans")); !contains(r, "Unlisted endpoint") {
		t.Errorf("open data is listed for private reports: %s", r.body)
	}
}

func TestOpenDataRequests(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	get := b.api(araucaria, b.request(http.MethodGet, b.sim.APIURL()+openPath, "", ""))
	b.wantMessage(get, http.StatusMethodNotAllowed, "Method Not Allowed")
	b.wantMessage(b.api(araucaria, b.request(http.MethodGet, b.sim.APIURL()+openPath+"/"+someID, "", "")), http.StatusNotFound, "Not Found")
	b.wantMessage(b.api(araucaria, b.request(http.MethodPost, b.sim.APIURL()+openPath, jsonType, "{}")), http.StatusBadRequest, "Invalid payload format: MUST be an array")
	b.wantMessage(b.openReport(araucaria, make([]item, maxItems+1)...), http.StatusRequestEntityTooLarge, "Record limit exceeded")
	b.wantMessage(exchange(b.client(""), b.request(http.MethodPost, b.sim.APIURL()+openPath, jsonType, "[]")), http.StatusUnauthorized, "Unauthorized")
}

// The ledger knows a report of open data that came twice although nothing in it
// is an id, and knows it still after a restart.
func TestOpenDataInTheLedger(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), Seed: 3, Counterparty: Counterparty{Mode: Equal}}
	b := start(t, cfg)
	second := b.openCall(2)
	b.wantReceipts(b.openReport(araucaria, b.openCall(1), second), http.StatusOK, "ACCEPTED", "ACCEPTED")
	b.settle()
	l := b.sim.Ledger(Keys, Requests)
	if l.Totals.Stored != 2 || l.Totals.Duplicates != 0 || l.States["SINGLE"] != 2 || l.Counterparty["ACCEPTED"]+l.Counterparty["UNPAIRED"] != 0 {
		t.Fatalf("got %+v, want two reports that stand alone", l)
	}
	b.wantReceipts(b.openReport(araucaria, second), http.StatusOK, "ACCEPTED")
	b.settle()
	if l = b.sim.Ledger(Keys, Requests); l.Totals.Duplicates != 1 || len(l.Keys) != 2 || l.Keys[1].API != apiOpenData || l.Keys[1].Stored != 2 || l.Requests[0].API != apiOpenData {
		t.Fatalf("got %+v, want the second report twice", l)
	}
	if r := b.lookup(araucaria, l.Keys[0].FapiInteractionID); r.status != http.StatusNotFound {
		t.Errorf("got %d %s: open data can be looked up", r.status, r.body)
	}
	b.again(cfg)
	l.Totals.Tokens, l.Totals.Lookups = 0, 0 // counted since the start
	if after := b.sim.Ledger(Keys, Requests); !reflect.DeepEqual(after, l) {
		t.Errorf("got %+v\nwant %+v", after, l)
	}
}

func TestFaultsOfOneAPI(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	b.faulty = true
	b.sim.Inject(Fault{Operation: OnReport, API: apiOpenData, Kind: LoseAnswer, Times: 1})
	b.wantReceipts(b.report(araucaria, b.call(uuid.NewString())), http.StatusOK, "ACCEPTED")
	if r := b.openReport(araucaria, b.openCall(1)); r.err == nil {
		t.Fatalf("got an answer %s, want none", r.body)
	}
	b.wantReceipts(b.openReport(araucaria, b.openCall(2)), http.StatusOK, "ACCEPTED")
	if l := b.sim.Ledger(); l.Totals.Unanswered != 1 || l.Totals.Stored != 3 {
		t.Errorf("got %+v, want one of three stored without an answer", l.Totals)
	}
	for name, f := range map[string]Fault{"a lookup": {Operation: OnLookup, API: apiOpenData, Kind: Hide}, "no API": {Operation: OnReport, API: "hybrid", Kind: LoseAnswer}} {
		if f.validate() == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
