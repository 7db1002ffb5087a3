package consumer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/google/uuid"
)

const accounts = "/open-banking/accounts/v2/accounts"

// without is the catalogue as it was before a template was listed.
func without(t *testing.T, template string) (file string) {
	t.Helper()
	whole, err := os.ReadFile(filepath.Join("..", "adapters", "ofb", "data", "endpoints.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var kept [][]byte
	for _, line := range bytes.SplitAfter(whole, []byte("\n")) {
		if !bytes.Contains(line, []byte(","+template+",")) {
			kept = append(kept, line)
		}
	}
	file = filepath.Join(t.TempDir(), "endpoints.csv")
	if err := os.WriteFile(file, bytes.Join(kept, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// edition is Open Finance as it knows one catalogue and reports to some APIs.
func (r *rig) edition(catalogue string, apis ...string) *ofb.Adapter {
	r.t.Helper()
	a, err := ofb.New(ofb.Config{AuthURL: "https://auth.invalid", APIURL: "https://api.invalid", Catalogue: catalogue, APIs: apis}, r.tenants.Snapshot, time.Now, r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// clockwork is a reclassifier and the clock that it lives by.
type clockwork struct {
	*Reclassifier

	ahead time.Duration
}

func (r *rig) reclassifier(by Reviser, page int) *clockwork {
	r.t.Helper()
	c := &clockwork{}
	var err error
	c.Reclassifier, err = NewReclassifier(ReclassifyConfig{Interval: time.Minute, Again: time.Hour, Page: page}, ReclassifyDeps{Name: transport.PCMOFB, Pool: r.pool,
		Tenants: r.tenants.Snapshot, Reviser: by, Now: func() time.Time { return time.Now().Add(c.ahead) }, Log: r.log})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (c *clockwork) due(t *testing.T, want Round) {
	t.Helper()
	got, err := c.Due(t.Context())
	if err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
}

// lane counts the events that wait for an API.
func (r *rig) lane(api string) int64 {
	return r.count(`SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks WHERE api = $1`, api)
}

func (r *rig) outcome(d *draft) (outcome string) {
	r.t.Helper()
	if err := r.reader.QueryRow(r.t.Context(), `SELECT outcome FROM event_runtime.consumer_outcomes WHERE event_id = $1`, d.id).Scan(&outcome); err != nil {
		r.t.Fatal(err)
	}
	return outcome
}

// Through the streams and the consumer: what came before its endpoint was listed
// is reported once it is, and nothing of it twice.
func TestTheCatalogueGrows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before, after := r.edition(without(t, accounts), ofb.Private), r.edition("", ofb.Private)
	r.report = before
	listed, other, health := newDraft(field("endpoint", accounts+"/{accountId}")), newDraft(), newDraft(field("endpoint", "/internal/health"))
	r.append(listed, other, health)
	r.publish(listed, other, health)
	stop := r.start()
	r.settled()
	stop()
	if got := r.lane(ofb.Private); got != 1 || r.outcome(other) != "ineligible:unlisted_endpoint" {
		t.Fatalf("got %d events in the lane and outcome %q, want what is not listed set aside", got, r.outcome(other))
	}
	r.reclassifier(before, 100).due(t, Round{Looked: 2})
	again := r.reclassifier(after, 100)
	again.due(t, Round{Looked: 2, Accepted: 1})
	if got := r.lane(ofb.Private); got != 2 || r.outcome(other) != "accepted" || r.outcome(health) != "ineligible:unlisted_endpoint" {
		t.Errorf("got %d events in the lane, %q and %q, want what is listed now accepted and nothing else", got, r.outcome(other), r.outcome(health))
	}
	again.due(t, Round{}) // nothing has grown
	again.ahead = time.Hour
	again.due(t, Round{Looked: 1}) // the second round
	again.ahead = 24 * time.Hour
	again.due(t, Round{})
	if _, err := again.Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.report = after
	r.publish(other.again())
	stop = r.start()
	r.settled()
	stop()
	if got := r.lane(ofb.Private); got != 2 {
		t.Errorf("got %d events in the lane after a copy came, want 2", got)
	}
	if report := r.whole(); report.Counted["reclassified"] != 1 || report.Conflicts != 0 {
		t.Errorf("got %v, want one reclassification", report.Counted)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'events.reclassified'`); got != 1 {
		t.Errorf("got %d ledger entries, want one: of the round in which something moved", got)
	}
	if got := r.logs.named("events.reclassified"); got == 0 {
		t.Error("the log says nothing")
	}
}

// Each kind of event that was set aside, when the APIs, the catalogue or the rules
// have grown.
func TestWhatBecomesReportable(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	r.report = r.edition(without(t, accounts), ofb.Private)
	taken := uuid.NewString()
	old := time.Now().Add(-7*24*time.Hour + 30*time.Minute).UTC().Format(time.RFC3339Nano)
	drafts := map[string]*draft{
		"open data":                           newDraft(open()),
		"open data, the same interaction id":  newDraft(open()),
		"open data without an address":        newDraft(open(), field("additionalInfo", nil)),
		"open data that we asked for":         newDraft(open(), field("role", "CLIENT")),
		"listed now":                          newDraft(),
		"listed now, of a disabled tenant":    newDraft(of("closed-bank")),
		"listed now, of a tenant that pauses": newDraft(of("idle-bank")),
		"too old by then":                     newDraft(field("timestamp", old)),
		"another has its report key":          newDraft(interaction(taken)),
		"has the key":                         newDraft(interaction(taken), field("endpoint", accounts+"/{accountId}")),
		"of a stranger":                       newDraft(field("clientOrgId", otherOrg)),
		"never listed":                        newDraft(field("endpoint", "/internal/health")),
		"another kind of event":               newDraft(typed("consent.advanced", map[string]any{"state": "AUTHORISED"})),
	}
	drafts["open data, the same interaction id"].payload["fapiInteractionId"] = drafts["open data"].payload["fapiInteractionId"]
	var all []*draft
	for _, d := range drafts {
		all = append(all, d)
	}
	r.append(all...)
	r.persist(all...)
	r.whole()
	again := r.reclassifier(r.edition(""), 4)
	again.ahead = time.Hour
	again.due(t, Round{Looked: 10, Accepted: 4, SetAside: 3, TooOld: 1})
	for name, want := range map[string]string{
		"open data": "accepted", "open data, the same interaction id": "accepted", "open data without an address": "accepted schema_invalid",
		"open data that we asked for": "ineligible:role_not_reportable", "listed now": "accepted", "listed now, of a disabled tenant": "ineligible:tenant_disabled",
		"listed now, of a tenant that pauses": "accepted", "too old by then": "ineligible:unlisted_endpoint", "another has its report key": "accepted interaction_id_reused",
		"has the key": "accepted", "of a stranger": "accepted organisation_unknown", "never listed": "ineligible:unlisted_endpoint",
		"another kind of event": "ineligible:api_not_enabled",
	} {
		got := r.outcome(drafts[name])
		var aside string
		if err := r.reader.QueryRow(t.Context(), `SELECT coalesce(max(reason), '') FROM event_runtime.quarantine WHERE stage = 'submit' AND event_id = $1`, drafts[name].id).Scan(&aside); err != nil {
			t.Fatal(err)
		}
		if got = strings.TrimSpace(got + " " + aside); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if private, open := r.lane(ofb.Private), r.lane(ofb.OpenData); private != 3 || open != 2 {
		t.Errorf("got %d and %d events in the lanes, want 3 private and 2 of open data", private, open)
	}
	r.whole()
	// A later event with the key of one that was reclassified is not reported.
	key := drafts["listed now"].payload["fapiInteractionId"].(string)
	if got := r.persist(newDraft(interaction(key), field("endpoint", accounts+"/{accountId}"))); got[0] != IDReused {
		t.Errorf("got %v, want the key of a reclassified event taken", got)
	}
	for table, sql := range map[string]string{"quarantine": `SELECT count(*) FROM event_runtime.quarantine q WHERE q::text LIKE '%203.0.113%'`,
		"reclassifications": `SELECT count(*) FROM event_runtime.reclassifications q WHERE q::text LIKE '%203.0.113%'`,
		"the ledger":        `SELECT count(*) FROM event_runtime.audit_ledger q WHERE convert_from(payload_bytes, 'UTF8') LIKE '%203.0.113%'`} {
		if r.count(sql) != 0 {
			t.Errorf("a caller's address is in %s", table)
		}
	}
	if strings.Contains(r.logs.String(), "203.0.113") {
		t.Error("a caller's address is in the log")
	}
}

// What goes on after a page is what comes behind it, whoever goes on.
func TestRoundsGoOnBehindTheLastPage(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	r.report = r.edition("", ofb.Private)
	const n = 25
	var all []*draft
	for i := range n {
		tenant := []string{acme, globex}[i%2]
		all = append(all, newDraft(of(tenant), open(), at(time.Now().Add(-time.Duration(i)*time.Hour/2))))
	}
	r.append(all...)
	r.persist(all...)
	grown := r.edition("")
	one := r.reclassifier(grown, 4)
	if err := one.begin(t.Context(), grown.Edition(r.tenants.Snapshot()), 1); err != nil {
		t.Fatal(err)
	}
	for r.lane(ofb.OpenData) == 0 { // up to the first page that has something, and no further
		if _, _, err := one.page(t.Context(), grown.Edition(r.tenants.Snapshot())); err != nil {
			t.Fatal(err)
		}
	}
	moved := r.lane(ofb.OpenData)
	r.whole()
	var others sync.WaitGroup
	for range 3 {
		another := r.reclassifier(grown, 4)
		others.Go(func() {
			if _, err := another.Due(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	others.Wait()
	if got := r.lane(ofb.OpenData); got != n {
		t.Errorf("got %d events in the lane, %d of them before the stop, want %d", got, moved, n)
	}
	if got := r.count(`SELECT looked FROM event_runtime.reclassify_marks WHERE done_at IS NOT NULL`); got != n {
		t.Errorf("looked at %d events in all, want each once: %d", got, n)
	}
	r.whole()
}

// An event that comes with the report key of one that is just being reclassified:
// one of the two is reported.
func TestAKeyThatIsReclassifiedAndComesAtOnce(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	before, grown := r.edition(without(t, accounts), ofb.Private), r.edition("")
	for range 15 {
		key := uuid.NewString()
		r.report = before
		aside := newDraft(interaction(key))
		r.append(aside)
		r.persist(aside)
		late := newDraft(interaction(key), field("endpoint", accounts+"/{accountId}"))
		r.append(late)
		hand := r.classify(late)
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := r.reclassifier(grown, 10).Now(t.Context()); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if _, err := r.store().persist(t.Context(), hand); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
	}
	if got := r.lane(ofb.Private); got != 15 {
		t.Errorf("got %d events in the lane, want one of each key: 15", got)
	}
	r.whole()
}

func TestWhenRoundsAreDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	this, other := [32]byte{1}, [32]byte{2}
	for name, tc := range map[string]struct {
		m    mark
		want errand
	}{
		"never looked":                    {mark{}, first},
		"by another edition":              {mark{there: true, edition: other, round: 2, done: now}, first},
		"by another edition, under way":   {mark{there: true, edition: other, round: 1}, first},
		"under way":                       {mark{there: true, edition: this, round: 1}, goOn},
		"the second one under way":        {mark{there: true, edition: this, round: 2}, goOn},
		"the first one is done":           {mark{there: true, edition: this, round: 1, done: now.Add(-time.Hour + time.Second)}, rest},
		"the first one was done long ago": {mark{there: true, edition: this, round: 1, done: now.Add(-time.Hour)}, second},
		"both are done":                   {mark{there: true, edition: this, round: 2, done: now.Add(-48 * time.Hour)}, rest},
	} {
		if got := tc.m.errand(this, now, time.Hour); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// The edition changes with everything that decides, and with nothing else.
func TestEditions(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	of := func(a *ofb.Adapter) [32]byte { return a.Edition(r.tenants.Snapshot()) }
	base := of(r.edition(""))
	if of(r.edition("", ofb.OpenData, ofb.Private)) != base {
		t.Error("the order of APIs makes another edition")
	}
	if of(r.edition("", ofb.Private)) == base {
		t.Error("another API makes no other edition")
	}
	if of(r.edition(without(t, accounts))) == base {
		t.Error("another catalogue makes no other edition")
	}
	r.db.Exec(`UPDATE event_runtime.eligibility_rules SET valid_to = now()`)
	if err := r.tenants.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if of(r.edition("")) == base {
		t.Error("another rule makes no other edition")
	}
}

// explosive cannot decide about one endpoint.
type explosive struct{ *ofb.Adapter }

func (x explosive) Report(e *event.Envelope, s *tenant.Snapshot) (submit.Report, error) {
	if bytes.Contains(e.Payload, []byte("/internal/health")) {
		panic("cannot be decided")
	}
	return x.Adapter.Report(e, s)
}

func TestAnEventThatCannotBeDecidedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	r.report = r.edition("", ofb.Private)
	bad, good := newDraft(field("endpoint", "/internal/health")), newDraft(open())
	r.append(bad, good)
	r.persist(bad, good)
	r.reclassifier(explosive{r.edition("")}, 1).due(t, Round{Looked: 2, Accepted: 1, SetAside: 1})
	if n := r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE stage = 'submit' AND reason = 'handler_panic' AND event_id = $1`, bad.id); n != 1 {
		t.Errorf("got %d rows of quarantine, want 1", n)
	}
	r.whole()
}
