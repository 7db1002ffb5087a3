package ofb

import (
	"encoding/json"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestLedgerOverTheControlListener(t *testing.T) {
	t.Parallel()
	b := start(t, Config{Counterparty: Counterparty{Mode: Equal}})
	b.report(araucaria, b.call(someID), b.call(uuid.NewString()), item{"role": "CLIENT"})
	b.report(pagamentos, b.call(someID)) // the same report by another member of the conglomerate
	b.post(araucaria, "{}")
	b.settle()
	ledger := func(query string) (l Ledger) {
		r := b.control(http.MethodGet, "/_ledger"+query, "")
		if err := json.Unmarshal(r.body, &l); err != nil || r.status != http.StatusOK {
			t.Fatalf("%s: got %d %s (%v)", query, r.status, r.body, err)
		}
		return l
	}
	plain := ledger("")
	want := Totals{Requests: 3, Items: 4, Stored: 3, Discarded: 1, Duplicates: 1, Tokens: 2}
	if plain.Totals != want || len(plain.Keys)+len(plain.Requests)+len(plain.Days) != 0 || plain.Refused[400] != 1 {
		t.Errorf("got %+v %v, want %+v and no lists", plain.Totals, plain.Refused, want)
	}
	if plain.States["PAIRED"] != 2 || plain.States["UNPAIRED"] != 1 || plain.Counterparty["PAIRED"] != 2 {
		t.Errorf("got %v and %v, want two pairs and a copy alone", plain.States, plain.Counterparty)
	}
	full := ledger("?keys=1&requests=1&days=1")
	if mine := b.sim.Ledger(Keys, Requests, Days); !reflect.DeepEqual(full, mine) {
		t.Errorf("got %+v over HTTP, want %+v", full, mine)
	}
	if len(full.Keys) != 3 || full.Keys[0].Stored != 2 || full.Keys[2].FapiInteractionID != "" {
		t.Errorf("got %+v, want three reports, the first doubled and the last without an id", full.Keys)
	}
	if k := full.Keys[0]; k.Organisation != araucaria || k.Arrivals[1].SentBy != pagamentos || k.Arrivals[1].HTTPStatus != http.StatusOK {
		t.Errorf("got %+v, want the second copy sent by the other member", k)
	}
	if len(full.Requests) != 3 || full.Requests[2].HTTPStatus != 400 || !full.Requests[2].Answered || full.Requests[0].Items != 3 {
		t.Errorf("got %+v", full.Requests)
	}
	if doubled := ledger("?duplicates=1"); len(doubled.Keys) != 1 || doubled.Keys[0].FapiInteractionID != someID {
		t.Errorf("got %+v, want the doubled report", doubled.Keys)
	}
	if one := ledger("?key=" + someID); len(one.Keys) != 1 || one.Keys[0].Arrived != 2 {
		t.Errorf("got %+v, want one report", one.Keys)
	}
	if none := ledger("?keys=1&key=" + uuid.NewString()); len(none.Keys) != 0 {
		t.Errorf("got %+v, want none", none.Keys)
	}
	if r := b.control(http.MethodGet, "/_ledger?key=x", ""); r.status != http.StatusBadRequest {
		t.Errorf("got %d, want 400", r.status)
	}
}

func TestDaysFollowTheTicketRules(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	day := epoch.Truncate(24 * time.Hour)
	send := func(org string, now time.Time, items ...item) {
		b.clock.advance(now.Sub(b.clock.now()))
		delete(b.tokens, org)
		b.report(org, items...)
		b.settle()
	}
	// Three calls of one day, reported at 07:59 GMT, 08:01 GMT and 11:01 GMT of the next.
	called := func(id string) item { return callAt(id, day.Add(10*time.Hour)) }
	ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
	server := func(id string) item {
		return called(id).without("clientSSId", "endpointUriPrefix", "additionalInfo", "correlationId").with("role", "SERVER")
	}
	send(araucaria, day.Add(31*time.Hour+59*time.Minute), called(ids[0]), called(uuid.NewString()).without("httpMethod"))
	send(araucaria, day.Add(32*time.Hour+time.Minute), called(ids[1]))
	send(araucaria, day.Add(35*time.Hour+time.Minute), called(ids[2]))
	send(ipe, day.Add(36*time.Hour), server(ids[0]), server(ids[1]).with("statusCode", 500), server(uuid.NewString()))
	var row DayRow
	for _, d := range b.sim.Ledger(Days).Days {
		if d.Organisation == araucaria && d.Method == "GET" {
			row = d
		}
	}
	want := DayRow{
		Organisation: araucaria, Day: "2026-09-10", Endpoint: accountsEndpoint, Method: "GET",
		Received: 3, By8GMT: 1, By8BRT: 2, ByD7: 3, States: map[string]int{"PAIRED": 1, "PAIRED_INCONSISTENT": 1, "UNPAIRED": 1},
		Missing: 1, Sent: 1, NotPaired: 2, Daily95GMT: share(1, 2), Daily95BRT: share(2, 3), Final99: share(1, 3),
	}
	if !reflect.DeepEqual(row, want) {
		got, _ := json.Marshal(row)
		wanted, _ := json.Marshal(want)
		t.Errorf("got\n%s, want\n%s", got, wanted)
	}
}

func TestConcurrentClientsAreAllCounted(t *testing.T) {
	t.Parallel()
	b := start(t, Config{RatePerSecond: -1, Counterparty: Counterparty{Mode: Equal}})
	b.sim.Inject(Fault{Operation: OnReport, Kind: LoseAnswer, Probability: 0.2})
	b.faulty = true
	token, client := b.token(araucaria), b.client("")
	const clients, rounds, size = 8, 10, 20
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range rounds {
				body, _ := json.Marshal(b.calls(size))
				req := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, string(body))
				req.Header.Set("Authorization", "Bearer "+token)
				exchange(client, req)
				b.sim.Ledger(Keys, Days)
			}
		})
	}
	all.Wait()
	b.settle()
	l := b.sim.Ledger(Keys)
	const total = clients * rounds * size
	if l.Totals.Stored != total || len(l.Keys) != total || l.Totals.Duplicates != 0 || l.States["PAIRED"] != total {
		t.Errorf("got %+v %v, want %d stored and paired", l.Totals, l.States, total)
	}
	if lost := b.sim.Faults()[0].Hits; l.Totals.Unanswered != lost || lost == 0 {
		t.Errorf("got %d unanswered requests, want %d", l.Totals.Unanswered, lost)
	}
}
