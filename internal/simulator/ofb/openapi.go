package ofb

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed data/openapi.yaml
var openapiYAML []byte

// officialDocument is read once per process: it is 140 KB of YAML and never changes.
var officialDocument = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapiYAML)
	if err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	for _, name := range []string{"ClientReportRequest", "ServerReportRequest"} {
		relax(doc.Components.Schemas[name].Value)
	}
	return doc, nil
})

// discardingEnums are the only domains of additionalInfo that PCM discards for.
// Anything else that is wrong in there opens a quality ticket later.
var discardingEnums = []string{"paymentType", "personType", "dropReason", "cancelledFrom", "grantType"}

// relax takes out of a request schema what the discard rules say PCM does not
// discard for: domains and patterns of additionalInfo, except the five enums, and
// the type of errorCodes, which the sources call both a string and a list.
func relax(request *openapi3.Schema) {
	info := request.Properties["additionalInfo"].Value
	delete(info.Properties, "errorCodes")
	for name, field := range info.Properties {
		field.Value.Pattern = ""
		if !slices.Contains(discardingEnums, name) {
			field.Value.Enum = nil
		}
		switch {
		case field.Value.Type.Is("object"):
			field.Value.Properties = nil
		case field.Value.Type.Is("array"):
			field.Value.Items, field.Value.MaxItems = nil, nil
		}
	}
}

// official is the second opinion on an item that the own rules accepted.
type official struct {
	client, server, open *openapi3.Schema
}

func newOfficial() (*official, error) {
	doc, err := officialDocument()
	if err != nil {
		return nil, err
	}
	return &official{
		client: doc.Components.Schemas["ClientReportRequest"].Value,
		server: doc.Components.Schemas["ServerReportRequest"].Value,
		open:   doc.Components.Schemas["OpendataReportRequest"].Value,
	}, nil
}

// accepts asks the schema of the API and role, not the document's oneOf: the server schema
// allows further keys, so every client report matches both and oneOf refuses it.
func (o *official) accepts(item []byte, r report) error {
	var v any
	if err := json.Unmarshal(item, &v); err != nil {
		return err
	}
	switch {
	case r.open:
		return o.open.VisitJSON(v)
	case r.role == client:
		return o.client.VisitJSON(v)
	default:
		return o.server.VisitJSON(v)
	}
}
