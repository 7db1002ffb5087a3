package capture

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Details is what only the bank knows of a call. Everything is optional here;
// what a regulator misses is shown by its consumer.
type Details struct {
	ClientOrgID   string // the organisation that calls, a UUID
	ServerOrgID   string // the organisation that is called, a UUID
	ClientSSID    string // the software statement used, a UUID; recorded for CLIENT only
	CorrelationID string // at most 100 characters, no personal data

	// AdditionalInfo holds the fields that the payload's schema names; one that it
	// does not know costs all of them.
	AdditionalInfo map[string]any

	info jsontext.Value // AdditionalInfo, once it is checked
}

// Call is what a Describe hook may look at. It must not change any of it.
type Call struct {
	Role          string // SERVER or CLIENT
	Request       *http.Request
	Endpoint      string
	InteractionID string
	Status        int
	Header        http.Header // of the response; nil when none came
	Timestamp     time.Time
	Took          time.Duration
}

// over gives d with what o knows better.
func (d Details) over(o Details) Details {
	for _, f := range []struct{ to, from *string }{
		{&d.ClientOrgID, &o.ClientOrgID}, {&d.ServerOrgID, &o.ServerOrgID},
		{&d.ClientSSID, &o.ClientSSID}, {&d.CorrelationID, &o.CorrelationID},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	if len(o.AdditionalInfo) > 0 {
		info := maps.Clone(d.AdditionalInfo)
		if info == nil {
			info = map[string]any{}
		}
		maps.Copy(info, o.AdditionalInfo)
		d.AdditionalInfo = info
	}
	return d
}

// freeText is the regulator's pattern FREE n, without its length.
var freeText = regexp.MustCompile(`^[- /:_.',0-9a-zA-Z]+$`)

func isFree(s string, most int) bool { return len(s) <= most && freeText.MatchString(s) }

func isUUID(s string) bool { _, err := event.ParseID(s); return err == nil }

// checked leaves out what can never be recorded, field by field, and names it:
// one bad field must not cost the call, nor the other fields.
func (d Details) checked() (good Details, bad []string) {
	for _, f := range []struct {
		name  string
		value *string
		valid func(string) bool
	}{
		{"clientOrgId", &d.ClientOrgID, isUUID},
		{"serverOrgId", &d.ServerOrgID, isUUID},
		{"clientSSId", &d.ClientSSID, isUUID},
		{"correlationId", &d.CorrelationID, func(s string) bool { return isFree(s, 100) }},
	} {
		if *f.value != "" && !f.valid(*f.value) {
			*f.value, bad = "", append(bad, f.name)
		}
	}
	if len(d.AdditionalInfo) > 0 {
		if d.info = marshal(d.AdditionalInfo); d.info == nil {
			bad = append(bad, "additionalInfo")
		}
	}
	return d, bad
}

// marshal gives nil for what is no JSON, and for what panics on the way there:
// values bring their own code.
func marshal(info map[string]any) (text jsontext.Value) {
	defer func() {
		if recover() != nil {
			text = nil
		}
	}()
	text, err := json.Marshal(info, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return text
}

// Annotate says more about the call that is being answered, from wherever its
// context is: what an inner middleware or the handler finds out does not reach
// the hook of a middleware outside. Later words replace earlier ones. Without a
// recorded call in ctx it does nothing.
func Annotate(ctx context.Context, d Details) {
	if x := exchangeIn(ctx); x != nil {
		x.annotate(d)
	}
}
