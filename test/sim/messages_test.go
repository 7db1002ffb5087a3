package sim

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
)

const bank = "acme-bank"

var catalog = sync.OnceValue(func() *event.Catalog {
	c, err := event.NewCatalog()
	if err != nil {
		panic(err)
	}
	return c
})

func tenants() *tenant.Snapshot {
	return tenant.NewSnapshot([]tenant.Tenant{{ID: bank, State: tenant.Active}})
}

// reporter is a regulator that wants everything but one endpoint.
type reporter struct{}

func (reporter) Report(e *event.Envelope, _ *tenant.Snapshot) (submit.Report, error) {
	i, err := event.ParseInteraction(e.Payload)
	if err != nil {
		return submit.Report{}, err
	}
	if i.Endpoint == "/private" {
		return submit.Report{}, submit.Ineligible("unlisted_endpoint")
	}
	key, err := event.ParseID(i.InteractionID)
	return submit.Report{API: "private", InteractionID: key, Role: string(i.Role)}, err
}

func message(id event.ID, now time.Time, eventType, payload string) consumer.Message {
	body := fmt.Sprintf(`{"record":{"tenant_id":%q,"recorded_on":%q,"event_id":%q,"ecosystem":"ofb","event_type":%q,"version":1,"occurred_at":%q,"payload":%s},"action":"insert"}`,
		bank, id.Day().Format(time.DateOnly), id, eventType, now.Format(time.RFC3339Nano), payload)
	return consumer.Message{Subject: event.Subject(bank, event.OFB, eventType), Body: []byte(body), MsgID: id.String(), Stream: "INTERACTIONS", Delivered: 1}
}

func interactionPayload(key event.ID, endpoint string, now time.Time) string {
	return fmt.Sprintf(`{"role":"SERVER","fapiInteractionId":%q,"endpoint":%q,"httpMethod":"GET","statusCode":200,"timestamp":%q,"processTimespan":1.50}`,
		key, endpoint, now.Format("2006-01-02T15:04:05.000Z"))
}

func goodMessage(id, key event.ID, now time.Time) consumer.Message {
	return message(id, now, event.InteractionCompleted, interactionPayload(key, "/open", now))
}

func ineligibleMessage(id, key event.ID, now time.Time) consumer.Message {
	return message(id, now, event.InteractionCompleted, interactionPayload(key, "/private", now))
}

func poisonMessage(id event.ID, kind int, now time.Time) consumer.Message {
	switch kind {
	case 0:
		return message(id, now, event.InteractionCompleted, `{"statusCode":"no"}`)
	case 1:
		return message(id, now, "interaction.unheard", `{}`)
	case 2:
		return message(id, now, event.InteractionCompleted, `{"n":9007199254740993}`)
	default:
		m := message(id, now, event.InteractionCompleted, `{}`)
		m.Body = m.Body[:len(m.Body)/2]
		return m
	}
}

// respell is the same event as another relay would write it.
func respell(m consumer.Message) consumer.Message {
	m.Body = bytes.Replace(m.Body, []byte(`"processTimespan":1.50`), []byte(`"processTimespan": 1.5`), 1)
	m.Body = bytes.Replace(m.Body, []byte(`,"action":"insert"`), []byte(`,"action":"read","metadata":{"commit_lsn":null}`), 1)
	return m
}

// forge is another event under the same id.
func forge(m consumer.Message) consumer.Message {
	m.Body = []byte(strings.Replace(string(m.Body), `"statusCode":200`, `"statusCode":500`, 1))
	return m
}
