package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/finnest/event-runtime/outbox"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// fate is where an event must end.
type fate string

const (
	reported   fate = "reported"
	inDoubt    fate = "accepted, without a receipt" // it cannot be asked about: two persons decide
	ineligible fate = "ineligible"
	setAside   fate = "quarantined"
)

// A key is what the regulator tells reports apart by.
type key struct{ role, organisation, interaction string }

// sent is one event that was appended, and what must become of it.
type sent struct {
	id     string
	tenant string
	fate   fate
	reason string // of what is not reported
	key    key    // of what is
	open   bool   // of open data: it has no key
	stored bool   // the regulator has it although nobody here knows
	maybe  bool   // the answer to its commit was lost: the outbox knows
}

var templates = []string{
	"/open-banking/accounts/v2/accounts", "/open-banking/accounts/v2/accounts/{accountId}/balances",
	"/open-banking/credit-cards-accounts/v2/accounts", "/open-banking/accounts/v2/accounts/{accountId}/transactions",
}

// call is what a bank's API or its client captured.
func (r *rig) call(b bank) (outbox.Event, *sent) {
	own := b.organisations[r.roll(int64(len(b.organisations)))]
	interaction := uuid.NewString()
	payload := map[string]any{
		"role": "SERVER", "fapiInteractionId": interaction, "endpoint": templates[r.roll(int64(len(templates)))], "httpMethod": "GET",
		"statusCode": []int{200, 200, 200, 404, 500}[r.roll(5)], "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"processTimespan": 1 + float64(r.roll(4000))/8, "clientOrgId": partnerOrg, "serverOrgId": own,
	}
	if r.roll(2) == 0 {
		payload["role"], payload["clientOrgId"], payload["serverOrgId"] = "CLIENT", own, partnerOrg
		payload["clientSSId"], payload["endpointUriPrefix"] = statementOf(own), "https://api.parceira.example"
		payload["additionalInfo"] = map[string]any{"consentId": "urn:parceira:" + uuid.NewString()}
	}
	s := &sent{id: outbox.NewID(), tenant: b.tenant, fate: reported, key: key{payload["role"].(string), own, interaction}}
	return outbox.Event{ID: s.id, TenantID: b.tenant, Ecosystem: "ofb", Type: "interaction.completed", Source: "chaos", Payload: payload}, s
}

// caller is who asked for open data: its address may be in the outbox and in what is
// sealed, and nowhere else.
const caller = "203.0.113.77"

// openCall is a call of open data, as its server captured it: nobody knows whose.
func (r *rig) openCall(b bank) (outbox.Event, *sent) {
	e, s := r.call(b)
	e.Payload = map[string]any{
		"role": "SERVER", "fapiInteractionId": uuid.NewString(), "endpoint": "/open-banking/opendata-loans/v1/personal-loans", "httpMethod": "GET", "statusCode": 200,
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "processTimespan": 1 + float64(r.roll(1<<40))/(1<<20), // no two of them are the same report
		"serverOrgId": b.organisations[0], "additionalInfo": map[string]any{"clientIp": caller},
	}
	s.key, s.open = key{}, true
	return e, s
}

// unreportable is an event that no regulator wants to hear of.
func (r *rig) unreportable(b bank) (outbox.Event, *sent) {
	e, s := r.call(b)
	s.fate, s.reason = ineligible, "unlisted_endpoint"
	if r.roll(2) == 0 {
		s.reason = "api_not_enabled"
		e.Type, e.Payload = "consent.advanced", map[string]string{"state": "AUTHORISED", "previousState": "AWAITING_AUTHORISATION"}
		return e, s
	}
	e.Payload.(map[string]any)["endpoint"] = "/internal/health"
	return e, s
}

// personal is planted in poison: it may be in the outbox, and nowhere else.
var personal = []string{"529.982.247-25", "joana.dias@correio.example", "11.222.333/0001-81"}

// poisons are what a careless producer in another language may append, by the
// reason for which each is set aside.
var poisons = []struct{ reason, tenant, eventType, source, payload string }{
	{"schema_invalid", "", "interaction.completed", "", `{"statusCode":"` + personal[1] + `"}`},
	{"schema_unknown", "", "interaction.guessed", "", `{"cnpj":"` + personal[2] + `"}`},
	{"tenant_unknown", "ninguem", "interaction.completed", "", good},
	{"personal_data", "", "interaction.completed", "escrito por " + personal[0], good},
	{"unstorable", "", "interaction.completed", "", `{"n":9007199254740993}`},
	{"organisation_unknown", "", "interaction.completed", "", good},
}

const good = `{"role":"SERVER","fapiInteractionId":"ID","endpoint":"/open-banking/accounts/v2/accounts","httpMethod":"GET","statusCode":200,` +
	`"timestamp":"AT","processTimespan":12.5,"clientOrgId":"99999999-9999-4999-8999-999999999999","serverOrgId":"99999999-9999-4999-8999-999999999998"}`

const sqlPoison = `
SELECT event_runtime.append_event($1, 'ofb', $2, $3::jsonb, event_id => $4::uuid, source => nullif($5, ''))`

// appendTx adds events in one transaction of the producer's. Whether it was
// committed is not always known to the producer; its events are kept either way.
func (r *rig) appendTx(ctx context.Context, all []*sent, do func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, r.producer, do)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range all {
		s.maybe = err != nil
	}
	r.sent = append(r.sent, all...)
	return err
}

// appendCalls appends through the library, as a producer in Go does.
func (r *rig) appendCalls(ctx context.Context, draw func(bank) (outbox.Event, *sent), to ...bank) error {
	events, all := []outbox.Event{}, []*sent{}
	for _, b := range to {
		e, s := draw(b)
		events, all = append(events, e), append(all, s)
	}
	return r.appendTx(ctx, all, func(tx pgx.Tx) error {
		_, err := outbox.Append(ctx, tx, events...)
		return err
	})
}

// appendPoison appends what the library would refuse, by SQL.
func (r *rig) appendPoison(ctx context.Context, b bank) error {
	p := poisons[r.roll(int64(len(poisons)))]
	s := &sent{id: outbox.NewID(), tenant: b.tenant, fate: setAside, reason: p.reason}
	if p.tenant != "" {
		s.tenant = p.tenant
	}
	payload := strings.NewReplacer("ID", uuid.NewString(), "AT", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")).Replace(p.payload)
	return r.appendTx(ctx, []*sent{s}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlPoison, s.tenant, p.eventType, payload, s.id, p.source)
		return err
	})
}

// calls appends n calls, to each bank in turn, in one transaction.
func (r *rig) calls(n int, to ...bank) {
	r.t.Helper()
	if len(to) == 0 {
		to = banks()
	}
	var each []bank
	for i := range n {
		each = append(each, to[i%len(to)])
	}
	if err := r.appendCalls(r.t.Context(), r.call, each...); err != nil {
		r.t.Fatal(err)
	}
}

// wave appends a bit of everything.
func (r *rig) wave(calls int) {
	r.t.Helper()
	r.calls(calls)
	ctx := r.t.Context()
	for _, b := range banks() {
		if err := r.appendCalls(ctx, r.unreportable, b); err != nil {
			r.t.Fatal(err)
		}
		if err := r.appendPoison(ctx, b); err != nil {
			r.t.Fatal(err)
		}
	}
}

// load appends at a rate until ctx ends: one event in a hundred is poison, three
// are not reportable. What the database refuses is kept as doubtful.
func (r *rig) load(ctx context.Context, perSecond int, to ...bank) (done <-chan struct{}) {
	ended := make(chan struct{})
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	working := context.WithoutCancel(ctx) // an append is not cut off by the end of the load
	go func() {
		defer close(ended)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r.something(working, to[r.roll(int64(len(to)))])
		}
	}()
	return ended
}

func (r *rig) something(ctx context.Context, b bank) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch dice := r.roll(100); {
	case dice < 1:
		_ = r.appendPoison(ctx, b)
	case dice < 4:
		_ = r.appendCalls(ctx, r.unreportable, b)
	default:
		_ = r.appendCalls(ctx, r.call, b)
	}
}

// appended counts the events that may be in the outbox.
func (r *rig) appended() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

func (s *sent) String() string { return fmt.Sprintf("event %s of %s", s.id, s.tenant) }
