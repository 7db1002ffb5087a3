package ofb

import (
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxAge is after which the platform refuses a report, and maxAhead how far in
// the future its timestamp may be (contract section 10).
const (
	maxAge   = 7 * 24 * time.Hour
	maxAhead = 5 * time.Minute
)

var methods = map[string]bool{"GET": true, "POST": true, "PUT": true, "DELETE": true, "PATCH": true}

// organisationUnknown puts an event before a person: either the tenant's
// organisations are configured wrongly, or its producer is. Counting it as not
// reportable would hide a missing report.
const organisationUnknown event.Reason = "organisation_unknown"

// Report decides what the platform wants to hear of e: which API, by whom and
// until when. Reasons are listed in docs/outcomes.md.
func (a *Adapter) Report(e *event.Envelope, s *tenant.Snapshot) (submit.Report, error) {
	if e.Type != event.InteractionCompleted {
		return submit.Report{}, submit.Ineligible("api_not_enabled")
	}
	i, err := event.ParseInteraction(e.Payload)
	if err != nil {
		return submit.Report{}, err
	}
	for name, text := range i.FreeText() {
		if _, found := denylist.Find(text); found {
			return submit.Report{}, &event.Defect{Reason: event.PersonalData, Where: "payload." + name}
		}
	}
	at, err := i.At()
	if err != nil {
		return submit.Report{}, &event.Defect{Reason: event.SchemaInvalid, Where: "payload.timestamp"}
	}
	listed, why := a.eligible(i, e.EventID.Time(), at)
	if why != "" {
		return submit.Report{}, submit.Ineligible(why)
	}
	if rule, excluded := s.Excluded(e.TenantID, event.OFB, listed.Template, i.Method, at); excluded {
		return submit.Report{}, submit.Ineligible(rule)
	}
	return place(e, i, listed.API, at, s)
}

// eligible says why a call is not reportable, or where it is listed.
func (a *Adapter) eligible(i *event.Interaction, recorded, at time.Time) (Endpoint, string) {
	listed, ok := a.catalogue.Find(i.Endpoint, recorded)
	switch {
	case !ok:
		return listed, "unlisted_endpoint"
	case !methods[i.Method]:
		return listed, "method_not_reportable"
	case i.StatusCode < 200 || i.StatusCode > 599:
		return listed, "status_not_reportable"
	case i.Role == event.Client && !listed.Client, i.Role == event.Server && !listed.Server:
		return listed, "role_not_reportable"
	case !a.apis[listed.API]:
		return listed, "api_not_enabled"
	case recorded.Sub(at) > maxAge:
		return listed, "expired"
	}
	return listed, ""
}

// place finds whose report it is and holds the fields that its role must have.
func place(e *event.Envelope, i *event.Interaction, api string, at time.Time, s *tenant.Snapshot) (submit.Report, error) {
	for name, value := range required(i, api) {
		if value == "" {
			return submit.Report{}, &event.Defect{Reason: event.SchemaInvalid, Where: "payload." + name}
		}
	}
	own := i.ServerOrgID
	if i.Role == event.Client {
		own = i.ClientOrgID
	}
	party, err := event.ParseID(own)
	if err != nil {
		return submit.Report{}, &event.Defect{Reason: event.SchemaInvalid, Where: "payload"}
	}
	organisation, ok := s.Organisation(e.TenantID, event.OFB, party)
	if !ok {
		return submit.Report{}, &event.Defect{Reason: organisationUnknown, Where: "payload"}
	}
	report := submit.Report{API: api, Submitter: organisation.Submitter, Party: party, Role: string(i.Role), Deadline: Deadline(at), Final: at.Add(maxAge), Bytes: len(e.Payload) + 100}
	if api == OpenData { // the platform never hears of an interaction id: none tells its reports apart
		return report, nil
	}
	interaction, err := event.ParseID(i.InteractionID)
	if err != nil {
		return submit.Report{}, &event.Defect{Reason: event.SchemaInvalid, Where: "payload.fapiInteractionId"}
	}
	report.InteractionID = interaction
	return report, nil
}

func required(i *event.Interaction, api string) map[string]string {
	if api == OpenData {
		ip, _ := clientIP(i)
		return map[string]string{"serverOrgId": i.ServerOrgID, "additionalInfo.clientIp": ip}
	}
	fields := map[string]string{"clientOrgId": i.ClientOrgID, "serverOrgId": i.ServerOrgID}
	if i.Role == event.Client {
		fields["clientSSId"], fields["endpointUriPrefix"] = i.ClientSSID, i.EndpointURIPrefix
	}
	return fields
}

// Deadline is the target of the daily ratio: 08:00 GMT (05:00 in Brasília) of the
// day after the call. The sources disagree whether 08:00 is GMT or Brasília's:
// this is the earlier reading.
func Deadline(call time.Time) time.Time {
	return call.UTC().Truncate(24 * time.Hour).Add(32 * time.Hour)
}

// clientReport and serverReport are items of a private report, in the order of
// the contract's section 5.1. The two roles differ in which keys may be there at
// all.
type clientReport struct {
	InteractionID     string         `json:"fapiInteractionId"`
	Endpoint          string         `json:"endpoint"`
	StatusCode        int            `json:"statusCode"`
	Method            string         `json:"httpMethod"`
	CorrelationID     string         `json:"correlationId"`
	AdditionalInfo    jsontext.Value `json:"additionalInfo"`
	Timestamp         string         `json:"timestamp"`
	ProcessTimespan   float64        `json:"processTimespan"`
	ClientOrgID       string         `json:"clientOrgId"`
	ClientSSID        string         `json:"clientSSId"`
	ServerOrgID       string         `json:"serverOrgId"`
	EndpointURIPrefix string         `json:"endpointUriPrefix"`
	Role              event.Role     `json:"role"`
}

type serverReport struct {
	InteractionID   string         `json:"fapiInteractionId"`
	Endpoint        string         `json:"endpoint"`
	StatusCode      int            `json:"statusCode"`
	Method          string         `json:"httpMethod"`
	AdditionalInfo  jsontext.Value `json:"additionalInfo,omitzero"`
	Timestamp       string         `json:"timestamp"`
	ProcessTimespan float64        `json:"processTimespan"`
	ClientOrgID     string         `json:"clientOrgId"`
	ServerOrgID     string         `json:"serverOrgId"`
	Role            event.Role     `json:"role"`
}

// timestampForm is the only one the platform takes: UTC, three digits.
const timestampForm = "2006-01-02T15:04:05.000Z"

// Encode makes the report of an accepted event. What would surely be discarded
// is refused here: it goes before a person instead of into the ratio.
func (a *Adapter) Encode(api string, e *event.Envelope) ([]byte, error) {
	i, err := event.ParseInteraction(e.Payload)
	if err != nil {
		return nil, &fault.Error{Class: fault.Permanent, Code: "schema_invalid"}
	}
	at, err := i.At()
	if err != nil {
		return nil, &fault.Error{Class: fault.Permanent, Code: "schema_invalid"}
	}
	listed, ok := a.catalogue.Find(i.Endpoint, a.now())
	age := a.now().Sub(at)
	switch {
	case !ok || listed.API != api:
		return nil, &fault.Error{Class: fault.Permanent, Code: "unlisted_endpoint"}
	case age > maxAge:
		return nil, &fault.Error{Class: fault.Permanent, Code: "expired"}
	case age < -maxAhead:
		return nil, &fault.Error{Class: fault.Permanent, Code: "in_the_future"}
	}
	if api == OpenData {
		return encodeOpen(i, listed.Template, at)
	}
	info, err := additionalInfo(i)
	if err != nil {
		return nil, &fault.Error{Class: fault.Permanent, Code: "schema_invalid"}
	}
	timestamp := at.Format(timestampForm)
	if i.Role == event.Server {
		return json.Marshal(serverReport{i.InteractionID, listed.Template, i.StatusCode, i.Method, info, timestamp, i.ProcessTimespan, i.ClientOrgID, i.ServerOrgID, i.Role})
	}
	correlation := i.CorrelationID
	if correlation == "" {
		correlation = e.EventID.String() // a second check of the order of the receipts
	}
	return json.Marshal(clientReport{i.InteractionID, listed.Template, i.StatusCode, i.Method, correlation, info, timestamp, i.ProcessTimespan, i.ClientOrgID,
		i.ClientSSID, i.ServerOrgID, i.EndpointURIPrefix, i.Role})
}

// additionalInfo keeps what the role may send: a server only the reason it
// dropped a consent, a client everything but that, and {} when there is nothing.
func additionalInfo(i *event.Interaction) (jsontext.Value, error) {
	fields := map[string]jsontext.Value{}
	if i.AdditionalInfo != nil {
		if err := json.Unmarshal(i.AdditionalInfo, &fields); err != nil {
			return nil, err
		}
	}
	if i.Role == event.Server {
		reason, ok := fields["dropReason"]
		if !ok {
			return nil, nil
		}
		fields = map[string]jsontext.Value{"dropReason": reason}
	} else {
		delete(fields, "dropReason")
		delete(fields, "clientIp") // open data's
	}
	return json.Marshal(fields, json.Deterministic(true))
}

// Pack joins items into the array the platform takes.
func (a *Adapter) Pack(_ string, items [][]byte) []byte {
	size := 2
	for _, item := range items {
		size += len(item) + 1
	}
	body := append(make([]byte, 0, size), '[')
	for n, item := range items {
		if n > 0 {
			body = append(body, ',')
		}
		body = append(body, item...)
	}
	return append(body, ']')
}

// Split finds the items that Pack joined.
func (a *Adapter) Split(api string, body []byte) ([][]byte, error) { return Split(api, body) }

// Split finds the items of a sealed body; it needs no adapter.
func Split(_ string, body []byte) ([][]byte, error) {
	var items []jsontext.Value
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, err
	}
	all := make([][]byte, len(items))
	for n, item := range items {
		all[n] = item
	}
	return all, nil
}

// Limits of one request (contract section 4.1). 10 MB is read as 10,000,000; for
// open data the platform gives no figure, and the same one is kept. What this
// release cannot send has no room at all.
func (a *Adapter) Limits(api string) (items, bytes int) {
	if reportPaths[api] == "" {
		return 0, 0
	}
	return 5000, 10_000_000
}

// MaxAge is how old a report may be when it arrives.
func (a *Adapter) MaxAge(string) time.Duration { return maxAge }
