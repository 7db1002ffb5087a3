package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const bank, consumer = "acme-bank", "pcm-ofb"

var splitters = map[string]func(string, []byte) ([][]byte, error){event.OFB: ofb.Split}

// world is a small healthy database: one event in each place where an event can
// be, and one batch in each state that has something to hold against it.
type world struct {
	t  *testing.T
	db *testenv.DB
	tx pgx.Tx // the one that everything is made in
	at time.Time
	// id has every event and batch by the name that cases use.
	id map[string]event.ID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: testenv.Postgres(t), at: time.Now().UTC().Truncate(time.Microsecond), id: map[string]event.ID{}}
	err := pgx.BeginFunc(t.Context(), w.db.Conn(testenv.Superuser), func(tx pgx.Tx) error {
		w.tx = tx
		w.exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ($1, 'Acme')`, bank)
		w.exec(`INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since) VALUES ($1, 'ofb', 'interaction', '00000000-0000-7000-8000-000000000000')`, consumer)
		w.events()
		w.batches()
		w.ledger()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.tx.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// append puts a call into the outbox.
func (w *world) append(name, tenant, kind string) (id event.ID) {
	w.t.Helper()
	w.must(w.tx.QueryRow(w.t.Context(), `SELECT event_runtime.append_event($1, 'ofb', $2, '{}')`, tenant, kind).Scan(&id))
	w.id[name] = id
	return id
}

// consumed gives an event its consumer row and counts it.
func (w *world) consumed(tenant string, id event.ID, outcome, counter string) {
	w.t.Helper()
	w.exec(`INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash, api, interaction_id, organisation_id, role)
		VALUES ($1, event_runtime.event_day($2), $2, $3, $4, sha256('x'), 'private', $5, $6, 'SERVER')`, tenant, id, consumer, outcome, event.ID(uuid.New()), organisation)
	w.count(tenant, id, counter)
}

func (w *world) count(tenant string, id event.ID, counter string) {
	w.t.Helper()
	w.exec(fmt.Sprintf(`INSERT INTO event_runtime.books AS b (day, tenant_id, consumer, %[1]s) VALUES (event_runtime.event_day($2), $1, $3, 1)
		ON CONFLICT (day, tenant_id, consumer) DO UPDATE SET %[1]s = b.%[1]s + 1`, counter), tenant, id, consumer)
}

var organisation = event.ID(uuid.MustParse("b961c4eb-509d-4edf-afeb-35642b38185d"))

func (w *world) accepted(name string) event.ID {
	id := w.append(name, bank, event.InteractionCompleted)
	w.consumed(bank, id, "accepted", "accepted")
	return id
}

// events puts one event into each place that is not a batch.
func (w *world) events() {
	w.t.Helper()
	w.must(submit.AddChunks(w.t.Context(), w.tx, w.at, []submit.Arrival{{Tenant: bank, Ecosystem: event.OFB, EventID: w.accepted("waiting"),
		Report: submit.Report{API: ofb.Private, Submitter: organisation, Party: organisation, Deadline: ofb.Deadline(w.at), Bytes: 100}}}))
	w.consumed(bank, w.append("ineligible", bank, event.InteractionCompleted), "ineligible:unlisted_endpoint", "ineligible")
	w.consumed("platform", w.append("canary", "platform", event.InteractionCanary), "canary", "canary")
	w.quarantine("ingest", consumer, w.append("unreadable", bank, event.InteractionCompleted))
	w.count(bank, w.id["unreadable"], "quarantined")
	w.quarantine("ingest", "relay", w.append("unpublishable", bank, event.InteractionCompleted))
	w.quarantine("submit", consumer, w.accepted("set_aside"))
	w.append("nobodys", bank, "consent.advanced")
}

func (w *world) quarantine(stage, by string, id event.ID) {
	w.t.Helper()
	w.exec(`INSERT INTO event_runtime.quarantine (stage, consumer, dedup_key, tenant_id, recorded_on, event_id, reason)
		VALUES ($1, $2, $3, $4, event_runtime.event_day($5), $5, 'too_large')`, stage, by, bank+":"+id.String(), bank, id)
}

// batches makes one of each.
func (w *world) batches() {
	w.t.Helper()
	w.batch("submitted", "submitted", 1, "first", "second")
	w.answer("submitted", "receipts", "ACCEPTED", "ACCEPTED")
	w.batch("partial", "partially_accepted", 1, "taken", "refused", "taken_too")
	w.answer("partial", "receipts", "ACCEPTED", "DISCARDED", "ACCEPTED")
	w.batch("rejected", "rejected", 1, "all_refused")
	w.answer("rejected", "receipts", "DISCARDED")
	w.batch("sealed", "sealed", 0, "missing")
	w.batch("posting", "posting", 1, "leaving")
	w.batch("unconfirmed", "submit_unconfirmed", 1, "in_doubt")
	w.answer("unconfirmed", "unknown")
	w.exec(`UPDATE event_runtime.export_batches SET ask_at = $2 WHERE batch_id = $1`, w.id["unconfirmed"], w.at)
	w.asked()
}

// asked makes a batch whose answer was lost: asking found one item, and proved
// that the other was not stored; it went into the batch "sealed".
func (w *world) asked() {
	w.t.Helper()
	found := w.accepted("found")
	w.seal("asked", "submitted", 1, found, w.id["missing"])
	w.exec(`UPDATE event_runtime.export_batches SET superseded_by = array[null, $2]::uuid[] WHERE batch_id = $1`, w.id["asked"], w.id["sealed"])
	w.answer("asked", "unknown")
	id := event.ID(uuid.New())
	hit := evidence.Answer{Status: 200, Raw: fmt.Appendf(nil, `{"reportId":"%s","status":"PAIRED"}`, id)}
	w.must(evidence.InsertInquiry(w.t.Context(), w.tx, w.id["asked"], 1, 1, evidence.Inquiry{Position: 0, EventID: found, AskedAt: w.at, Kind: "hit", Answer: hit}))
	absent := evidence.Answer{Status: 404, Raw: []byte(`{"message":"not found"}`)}
	w.must(evidence.InsertInquiry(w.t.Context(), w.tx, w.id["asked"], 1, 1, evidence.Inquiry{Position: 1, EventID: w.id["missing"], AskedAt: w.at, Kind: "absent", Answer: absent}))
	w.must(evidence.InsertReceipts(w.t.Context(), w.tx, w.origin("asked", 1), []evidence.Stored{
		{Position: 0, EventID: found, Receipt: evidence.Receipt{Status: "PAIRED", Accepted: true, ReportID: id}}}))
}

func (w *world) origin(batch string, probe int) evidence.Origin {
	return evidence.Origin{BatchID: w.id[batch], TenantID: bank, Attempt: 1, Probe: probe, At: w.at}
}

// batch seals new events.
func (w *world) batch(name, state string, attempt int, events ...string) {
	w.t.Helper()
	ids := make([]event.ID, len(events))
	for n, e := range events {
		ids[n] = w.accepted(e)
	}
	w.seal(name, state, attempt, ids...)
}

func (w *world) seal(name, state string, attempt int, ids ...event.ID) {
	w.t.Helper()
	id := event.NewID(w.at)
	w.id[name] = id
	items, hashes, root, stored, sum := frozen(w.t, ids)
	w.exec(`INSERT INTO event_runtime.export_batches (batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, reason, code, items, event_ids, item_hashes,
		merkle_root, body, body_bytes, body_sha256, deadline, oldest, sealed_at, changed_at, owner, token, post_by)
		VALUES ($1, $2, 'ofb', 'private', $3, $4, $5, 'age', 'receipts', $6, $7, $8, $9, $10, $11, $12, $13, $13, $13, $13, 'desk', 1, $13)`,
		id, bank, organisation, state, attempt, len(ids), ids, hashes, root, stored, len(items), sum, w.at)
}

// frozen makes a body with one item an event.
func frozen(t *testing.T, ids []event.ID) (body, hashes, root, stored, sum []byte) {
	t.Helper()
	items := make([][]byte, len(ids))
	for n, id := range ids {
		items[n] = fmt.Appendf(nil, `{"fapiInteractionId":"%s"}`, id)
	}
	body = list(items)
	hashes = evidence.ItemHashes(items)
	tree, digest := evidence.MerkleRoot(hashes), sha256.Sum256(body)
	stored, err := evidence.Compress(body)
	if err != nil {
		t.Fatal(err)
	}
	return body, hashes, tree[:], stored, digest[:]
}

func list(items [][]byte) []byte { return fmt.Appendf(nil, "[%s]", bytes.Join(items, []byte(","))) }

// answer stores what came back for the only attempt of a batch: one receipt an
// item, or nothing.
func (w *world) answer(batch, outcome string, statuses ...string) {
	w.t.Helper()
	var lines []string
	var receipts []evidence.Stored
	var events []event.ID
	w.must(w.tx.QueryRow(w.t.Context(), `SELECT event_ids FROM event_runtime.export_batches WHERE batch_id = $1`, w.id[batch]).Scan(&events))
	for n, status := range statuses {
		id := event.ID(uuid.New())
		lines = append(lines, fmt.Sprintf(`{"reportId":"%s","status":"%s"}`, id, status))
		receipts = append(receipts, evidence.Stored{Position: n, EventID: events[n],
			Receipt: evidence.Receipt{Status: evidence.Status(status), Accepted: status == "ACCEPTED", ReportID: id}})
	}
	a := evidence.Attempt{BatchID: w.id[batch], Number: 1, Outcome: outcome, Code: outcome, PostedAt: w.at, EndedAt: w.at}
	if len(lines) > 0 {
		a.Answer = evidence.Answer{Status: 207, Raw: []byte("[" + strings.Join(lines, ",") + "]")}
	}
	w.must(evidence.InsertAttempt(w.t.Context(), w.tx, a))
	w.must(evidence.InsertReceipts(w.t.Context(), w.tx, w.origin(batch, 0), receipts))
}

// ledger writes two chains.
func (w *world) ledger() {
	w.t.Helper()
	for n, chain := range []string{bank, bank, bank, bank, "platform", "platform"} {
		w.must(audit.Append(w.t.Context(), w.tx, w.at.Add(time.Duration(n)*time.Second), audit.Change{Chain: chain, Actor: "uid-1", Action: "batch.requeued",
			Subject: fmt.Sprint(n), Payload: map[string]any{"n": n}}))
	}
}
