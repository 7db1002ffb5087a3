package capture

import (
	"time"

	"github.com/finnest/event-runtime/internal/event"
)

// observation is one call as its side saw it.
type observation struct {
	role     event.Role
	endpoint string // the template
	prefix   string // CLIENT only
	method   string
	status   int
	at       time.Time
	took     time.Duration
	id       interactionID
	trace    string
}

// timeForm is as fine as Postgres keeps it. The regulators take fewer digits;
// cutting them is their adapter's business.
const timeForm = "2006-01-02T15:04:05.000000Z"

// Regulators refuse a timespan of zero, and the schema one of more than a day,
// which only a stream can take.
const (
	shortestSpan = time.Microsecond
	longestSpan  = 24 * time.Hour
)

func (o *observation) interaction(d Details) *event.Interaction {
	took := min(max(o.took, shortestSpan), longestSpan)
	i := &event.Interaction{
		Role: o.role, InteractionID: o.id.value, InteractionIDMade: o.id.made,
		Endpoint: o.endpoint, Method: o.method, StatusCode: o.status,
		Timestamp: o.at.UTC().Format(timeForm), ProcessTimespan: float64(took.Microseconds()) / 1000,
		ClientOrgID: d.ClientOrgID, ServerOrgID: d.ServerOrgID, CorrelationID: d.CorrelationID, AdditionalInfo: d.info,
	}
	if o.role == event.Client { // a server's report must not have them
		i.ClientSSID, i.EndpointURIPrefix = d.ClientSSID, o.prefix
	}
	return i
}

// unrecordable says why o can be no interaction whatever its endpoint is. Whether
// a call is reportable is the regulator's rule, and decided by its consumer.
func (o *observation) unrecordable() skipReason {
	switch {
	case len(o.method) < 3 || len(o.method) > 10 || !upper(o.method):
		return skipMethod
	case o.status < 100 || o.status > 599:
		return skipStatus
	default:
		return ""
	}
}

func upper(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}
