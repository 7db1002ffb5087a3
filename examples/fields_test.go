package examples

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
)

// Scripts that append what they are given, with the function of the example.
const (
	allFieldsNode = `
const { Client } = require("pg"), { appendEvent } = require("event-runtime");
(async () => {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query("BEGIN");
  for (const e of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
    await appendEvent(client, { ...e, occurredAt: e.occurredAt && new Date(e.occurredAt) });
  }
  await client.query("COMMIT");
  await client.end();
})();`

	allFieldsPython = `
import json, os, re, sys, datetime, psycopg2, event_runtime
snake = lambda name: re.sub("[A-Z]", lambda c: "_" + c[0].lower(), name)
with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
    for given in json.load(sys.stdin):
        e = {snake(name): value for name, value in given.items()}
        if "occurred_at" in e:
            e["occurred_at"] = datetime.datetime.fromisoformat(e["occurred_at"].replace("Z", "+00:00"))
        event_runtime.append_event(cursor, event_runtime.Event(**e))
`
)

// given is an event in the words of the examples.
type given struct {
	ID               string          `json:"id"`
	TenantID         string          `json:"tenantId"`
	Ecosystem        string          `json:"ecosystem"`
	Type             string          `json:"type"`
	Payload          json.RawMessage `json:"payload"`
	Version          int             `json:"version,omitzero"`
	OccurredAt       time.Time       `json:"occurredAt"`
	AggregateType    string          `json:"aggregateType,omitzero"`
	AggregateID      string          `json:"aggregateId,omitzero"`
	AggregateVersion *int64          `json:"aggregateVersion,omitzero"`
	IdempotencyKey   string          `json:"idempotencyKey,omitzero"`
	CorrelationID    string          `json:"correlationId,omitzero"`
	Traceparent      string          `json:"traceparent,omitzero"`
	Source           string          `json:"source"` // "" is given, and means none
	Subject          json.RawMessage `json:"subject,omitzero"`
}

func (g given) event() outbox.Event {
	e := outbox.Event{TenantID: g.TenantID, Ecosystem: g.Ecosystem, Type: g.Type, Version: g.Version, OccurredAt: g.OccurredAt, AggregateType: g.AggregateType,
		AggregateID: g.AggregateID, AggregateVersion: g.AggregateVersion, IdempotencyKey: g.IdempotencyKey, CorrelationID: g.CorrelationID,
		Traceparent: g.Traceparent, Source: g.Source, Payload: g.Payload}
	if g.Subject != nil {
		e.Subject = g.Subject
	}
	return e
}

func everyForm() []given {
	at := time.Date(2026, 11, 20, 11, 59, 59, 123_000_000, time.UTC)
	version := int64(1) << 53
	plain := given{TenantID: "acme-bank", Ecosystem: "ofb", Type: "proposal.made", OccurredAt: at, Payload: json.RawMessage(`{}`)}
	full := plain
	full.Type, full.Version = "consent.advanced", 1
	full.Payload = json.RawMessage(`{"state":"AUTHORISED","previousState":"AWAITING_AUTHORISATION"}`)
	full.AggregateType, full.AggregateID, full.AggregateVersion = "consent", "urn:bank:c-1", &version
	full.IdempotencyKey, full.CorrelationID, full.Source = "key-1", "c-1", "consents-api"
	full.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	full.Subject = json.RawMessage(`{"profile_id":"p-1","external_id":"e-1"}`)
	values, broken, elsewhere := plain, plain, plain
	values.Payload = json.RawMessage(`{"z":[1,-2.5,199.990,1e-7,0.1,9007199254740992,true,null,""],"a":{"text":"ação \"é\" \\ / \u2028 😀","empty":{}},"$1":"%s %(id)s"}`)
	broken.Traceparent = "not a trace"
	elsewhere.TenantID, elsewhere.Ecosystem, elsewhere.Payload = "b", "platform", json.RawMessage(`[1,"two"]`)
	all := []given{plain, full, values, broken, elsewhere}
	for i := range all {
		all[i].ID = outbox.NewID()
	}
	return all
}

// An event has the same form in the outbox, whichever language appended it: the
// row of outbox.Append, and what a consumer reads of it.
func TestEveryFieldIsAsAppendWritesIt(t *testing.T) {
	t.Parallel()
	for name, open := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, db := open(t), testenv.Postgres(t)
			all := everyForm()
			input, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.run(append(l.inline, l.script), []string{"DATABASE_URL=" + db.URL("runtime_producer")}, string(input)); err != nil {
				t.Fatal(err)
			}
			for i, g := range all {
				got, want := rowOf(t, db, g.ID), rowOf(t, db, appended(t, db, g.event()))
				if got.columns != want.columns {
					t.Errorf("event %d: got the row\n%s\nwant\n%s", i, got.columns, want.columns)
				}
				got.env.EventID, got.env.RecordedOn = want.env.EventID, want.env.RecordedOn
				if !reflect.DeepEqual(got.env, want.env) || got.env.Hash() != want.env.Hash() {
					t.Errorf("event %d: a consumer reads\n%+v\nwant\n%+v", i, got.env, want.env)
				}
			}
		})
	}
}

// appended is the id of e as Go appends it.
func appended(t *testing.T, db *testenv.DB, e outbox.Event) (id string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db.Conn("runtime_producer"), func(tx pgx.Tx) error {
		ids, err := outbox.Append(t.Context(), tx, e)
		if err == nil {
			id = ids[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// row is an outbox row: its columns but those of its id and arrival, as text, and
// what a consumer makes of it.
type row struct {
	columns string
	env     *event.Envelope
}

const sqlRow = `
SELECT (to_jsonb(o) - array['event_id', 'recorded_on', 'recorded_at'])::text, jsonb_build_object('record', to_jsonb(o))
  FROM event_runtime.outbox o WHERE event_id = $1`

func rowOf(t *testing.T, db *testenv.DB, id string) (r row) {
	t.Helper()
	var message []byte
	if err := db.Conn(testenv.Superuser).QueryRow(t.Context(), sqlRow, id).Scan(&r.columns, &message); err != nil {
		t.Fatalf("event %s: %v", id, err)
	}
	var err error
	if r.env, err = event.Decode(message); err != nil {
		t.Fatalf("a consumer cannot read event %s: %v", id, err)
	}
	if err := checked(r.env); err != nil {
		t.Fatal(err)
	}
	return r
}

// checked holds what has a schema against it.
func checked(e *event.Envelope) error {
	if e.Type != "consent.advanced" {
		return nil
	}
	c, err := event.NewCatalog()
	if err != nil {
		return err
	}
	if err := c.Check(e); err != nil {
		return fmt.Errorf("event %s: %w", e.EventID, err)
	}
	return nil
}
