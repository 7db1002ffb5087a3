package event

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed schema/*.json
var schemas embed.FS

// additionalStrings are the names under additionalInfo whose value is a string.
// A test holds them against the schema.
var additionalStrings = set("amountType authenticatorAttachment authorisationFlow authorisationFlowIntent cancellationReason cancelledFrom " +
	"clientIp consentId dropReason enrollmentId grantType hasMinimumAmount interval isFirstPayment isRetryAccepted journeyIsLinked journeyLinkId " +
	"localInstrument nfcPayment originalRecurringPaymentId paymentDate paymentReference paymentSchedule paymentType personType platform " +
	"recurringConsentId recurringPaymentDate recurringPaymentId referenceStartDate rejectedBy rejectedFrom rejectionReasonCode rejectionReasonDetail " +
	"revocationReasonCode revocationReasonDetail revokedBy revokedFrom rp status tokenId webhookEnable webhookInteractionId")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// Catalog knows the types and versions of events, each by its JSON Schema.
type Catalog struct {
	types map[string]map[int]*jsonschema.Schema
}

// NewCatalog compiles the embedded schemas. An error is a defect of this binary.
func NewCatalog() (*Catalog, error) {
	files, err := fs.Glob(schemas, "schema/*.json")
	if err != nil {
		return nil, err
	}
	c := &Catalog{types: map[string]map[int]*jsonschema.Schema{}}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, file := range files {
		name, version, err := typeOfFile(file)
		if err != nil {
			return nil, err
		}
		raw, err := schemas.ReadFile(file)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := compiler.AddResource(file, doc); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		compiled, err := compiler.Compile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if c.types[name] == nil {
			c.types[name] = map[int]*jsonschema.Schema{}
		}
		c.types[name][version] = compiled
	}
	return c, nil
}

// typeOfFile reads schema/<type>.v<version>.json.
func typeOfFile(file string) (string, int, error) {
	base := strings.TrimSuffix(strings.TrimPrefix(file, "schema/"), ".json")
	at := strings.LastIndex(base, ".v")
	if at < 0 {
		return "", 0, fmt.Errorf("%s: want schema/<type>.v<version>.json", file)
	}
	version, err := strconv.Atoi(base[at+2:])
	if err != nil {
		return "", 0, fmt.Errorf("%s: version: %w", file, err)
	}
	return base[:at], version, nil
}

// Types lists the known types, sorted.
func (c *Catalog) Types() []string { return slices.Sorted(maps.Keys(c.types)) }

// Check holds the payload against the schema of its type and version.
func (c *Catalog) Check(e *Envelope) error {
	schema, ok := c.types[e.Type][e.Version]
	if !ok {
		return &Defect{SchemaUnknown, "record.event_type"}
	}
	if e.Type == InteractionCompleted && plainInteraction(e.Payload) {
		return nil
	}
	var doc any
	if err := json.Unmarshal(e.Payload, &doc); err != nil {
		return unreadable(err)
	}
	if err := schema.Validate(doc); err != nil {
		return &Defect{SchemaInvalid, where(schema, err)}
	}
	return nil
}

// where names the outermost known field that is wrong. Deeper names come from
// the document, and a name can be personal data too.
func where(schema *jsonschema.Schema, err error) string {
	var wrong *jsonschema.ValidationError
	ok := errors.As(err, &wrong)
	for ok && len(wrong.InstanceLocation) == 0 && len(wrong.Causes) > 0 {
		wrong = wrong.Causes[0]
	}
	if ok && len(wrong.InstanceLocation) > 0 {
		if _, known := schema.Properties[wrong.InstanceLocation[0]]; known {
			return "payload." + wrong.InstanceLocation[0]
		}
	}
	return "payload"
}
