package examples

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/outbox"
)

// The bank's own table. Some rules of it hold at the statement, some at the
// commit, when the event has been appended already.
const bank = `
CREATE SCHEMA bank;
CREATE TABLE bank.consents (consent_id text PRIMARY KEY, state text NOT NULL, version int NOT NULL DEFAULT 1);
CREATE FUNCTION bank.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'state % has no successor', old.state; END $$;
CREATE CONSTRAINT TRIGGER final AFTER UPDATE ON bank.consents DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (old.state = 'REVOKED') EXECUTE FUNCTION bank.refuse();
GRANT USAGE ON SCHEMA bank TO runtime_producer;
GRANT SELECT, INSERT, UPDATE ON bank.consents TO runtime_producer;`

type rig struct {
	t  *testing.T
	l  *language
	db *testenv.DB
	at string // DATABASE_URL
}

// each runs a test once for each language.
func each(t *testing.T, test func(*rig)) {
	t.Parallel()
	for name, open := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.Postgres(t)
			db.Exec(bank)
			test(&rig{t: t, l: open(t), db: db, at: db.URL("runtime_producer")})
		})
	}
}

type change struct {
	ConsentID string `json:"consentId"`
	State     string `json:"state"`
	EventID   string `json:"eventId,omitzero"`
	tenant    string
}

// advance runs the example, and gives the id of the event.
func (r *rig) advance(c change) (eventID string, err error) {
	r.t.Helper()
	input, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	if c.tenant == "" {
		c.tenant = "acme-bank"
	}
	out, err := r.l.run([]string{r.l.program}, []string{"DATABASE_URL=" + r.at, "TENANT_ID=" + c.tenant}, string(input))
	if err != nil {
		return "", err
	}
	var said struct{ EventID string }
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		r.t.Fatalf("%q: %v", out, err)
	}
	return said.EventID, nil
}

func (r *rig) must(c change) (eventID string) {
	r.t.Helper()
	id, err := r.advance(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

const sqlWorld = `
SELECT coalesce((SELECT string_agg(consent_id || ' ' || state || ' ' || version, ', ' ORDER BY consent_id) FROM bank.consents), '') || ' | ' ||
       coalesce((SELECT string_agg(aggregate_id || ' ' || (payload ->> 'state') || ' ' || aggregate_version, ', ' ORDER BY aggregate_id, aggregate_version)
                   FROM event_runtime.outbox), '')`

// is compares the bank's rows, and the events, with what must be there.
func (r *rig) is(want string) {
	r.t.Helper()
	var got string
	if err := r.db.Conn(testenv.Superuser).QueryRow(r.t.Context(), sqlWorld).Scan(&got); err != nil {
		r.t.Fatal(err)
	}
	if got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

func TestBothAreCommitted(t *testing.T) {
	each(t, func(r *rig) {
		before := time.Now()
		first := r.must(change{ConsentID: "c-1", State: "AWAITING_AUTHORISATION"})
		second := r.must(change{ConsentID: "c-1", State: "AUTHORISED"})
		r.is("c-1 AUTHORISED 2 | c-1 AWAITING_AUTHORISATION 1, c-1 AUTHORISED 2")
		for i, id := range []string{first, second} {
			got := rowOf(r.t, r.db, id).env
			if got.EventID.Time().Before(before.Add(-time.Minute)) || got.EventID.Time().After(time.Now().Add(time.Minute)) || !got.EventID.IsV7() {
				r.t.Errorf("got the id %s, want a UUIDv7 of now", got.EventID)
			}
			version := int64(i + 1)
			payload := map[string]string{"state": "AWAITING_AUTHORISATION"}
			if i == 1 {
				payload = map[string]string{"state": "AUTHORISED", "previousState": "AWAITING_AUTHORISATION"}
			}
			want := rowOf(r.t, r.db, appended(r.t, r.db, outbox.Event{TenantID: "acme-bank", Ecosystem: "ofb", Type: "consent.advanced", OccurredAt: got.OccurredAt,
				AggregateType: "consent", AggregateID: "c-1", AggregateVersion: &version, Source: "consents-api", Payload: payload})).env
			want.EventID, want.RecordedOn = got.EventID, got.RecordedOn
			if got.Hash() != want.Hash() {
				r.t.Errorf("a consumer reads\n%+v\nwant\n%+v", got, want)
			}
		}
	})
}

// Whichever of the two fails, and whenever, the other one is not there either.
func TestNeitherIsCommitted(t *testing.T) {
	each(t, func(r *rig) {
		r.must(change{ConsentID: "c-1", State: "REVOKED"})
		if _, err := r.advance(change{ConsentID: "c-1", State: "AUTHORISED"}); err == nil || !strings.Contains(err.Error(), "state REVOKED has no successor") {
			r.t.Errorf("got %v, want what the bank's own rule says", err)
		}
		if _, err := r.advance(change{ConsentID: "c-2", State: "AUTHORISED", tenant: "Acme Bank"}); err == nil {
			r.t.Error("got no error for a tenant that cannot be")
		}
		r.is("c-1 REVOKED 1 | c-1 REVOKED 1")
	})
}

func TestRefusalsAreUnderstood(t *testing.T) {
	each(t, func(r *rig) {
		for name, c := range map[string]struct {
			change change
			want   string
		}{
			"tenant":     {change{tenant: "Acme Bank"}, "event refused: tenant_id: want lower-case letters"},
			"too large":  {change{State: strings.Repeat("SECRET", 256<<10/6+1)}, "event refused: payload: more than 256 KiB"},
			"stale id":   {change{EventID: event.NewID(time.Now().Add(-25 * time.Hour)).String()}, "event refused: event_id: not made within the last 24 hours"},
			"id ahead":   {change{EventID: event.NewID(time.Now().Add(time.Hour)).String()}, "event refused: event_id: not made within the last 24 hours, or ahead"},
			"not a UUID": {change{EventID: "SECRET"}, "event refused: event_id: want a UUIDv7"},
			"NUL":        {change{State: "SECRET\x00"}, ""}, // the bank's own row refuses it first, in the driver's words
		} {
			if c.change.State == "" {
				c.change.State = "SECRET"
			}
			c.change.ConsentID = "c-1"
			_, err := r.advance(c.change)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n") {
				r.t.Errorf("%s: got %.300v, want one line with %q and no value", name, err, c.want)
			}
		}
		r.at = r.db.URL("runtime_readonly")
		r.db.Exec(`GRANT USAGE ON SCHEMA bank TO runtime_readonly; GRANT SELECT, INSERT, UPDATE ON bank.consents TO runtime_readonly`)
		if _, err := r.advance(change{ConsentID: "c-1", State: "X"}); err == nil || !strings.Contains(err.Error(), "connect as runtime_producer") {
			r.t.Errorf("got %v, want the role named", err)
		}
		r.is(" | ")
	})
}

// The same change again, as a request that is repeated with its id: nothing more
// happens, to the event or to the bank's own row.
func TestTheSameChangeAgain(t *testing.T) {
	each(t, func(r *rig) {
		c := change{ConsentID: "c-1", State: "AUTHORISED", EventID: outbox.NewID()}
		for range 2 {
			if got := r.must(c); got != c.EventID {
				r.t.Errorf("got %s, want %s", got, c.EventID)
			}
		}
		r.is("c-1 AUTHORISED 1 | c-1 AUTHORISED 1")
	})
}

// What a connection's last bytes are: COMMIT and goodbye one way, the answer the
// other.
const (
	commitAndBye = int64(len("Q....commit.") + len("X...."))
	committed    = int64(len("C....COMMIT." + "Z....I"))
)

// A program whose commit, or the answer to it, was lost cannot know which. It
// tries again, and the change has happened once.
func TestTheCommitIsLost(t *testing.T) {
	for name, rule := range map[string]func(up, down int64) testenv.Rule{
		"on its way": func(up, _ int64) testenv.Rule {
			return testenv.Rule{Up: testenv.Fault{After: up - commitAndBye, Then: testenv.Reset, Await: true}}
		},
		"its answer": func(_, down int64) testenv.Rule {
			return testenv.Rule{Down: testenv.Fault{After: down - committed, Then: testenv.Reset, Await: true}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(r *rig) {
				address, err := url.Parse(r.at)
				if err != nil {
					r.t.Fatal(err)
				}
				proxy := testenv.Proxy(r.t, address.Host)
				address.Host = proxy.Addr()
				r.at = address.String()
				r.must(change{ConsentID: "c-1", State: "AUTHORISED"}) // shows how many bytes such a change takes
				first := <-proxy.Accepted()
				<-first.Closed()
				proxy.Next(rule(first.Passed(testenv.Up), first.Passed(testenv.Down)))
				r.must(change{ConsentID: "c-2", State: "AUTHORISED"})
				select {
				case <-(<-proxy.Accepted()).Faulted():
				default:
					r.t.Error("the fault never struck")
				}
				if tries := len(proxy.Conns()) - 1; tries != 2 {
					r.t.Errorf("got %d tries, want 2", tries)
				}
				r.is("c-1 AUTHORISED 1, c-2 AUTHORISED 1 | c-1 AUTHORISED 1, c-2 AUTHORISED 1")
			})
		})
	}
}
