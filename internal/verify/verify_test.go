package verify

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

func TestAHealthyWorldIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := Run(t.Context(), w.db.Pool("runtime_readonly"), Options{Split: splitters})
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != Whole || len(r.Broken) > 0 || r.Pending != 0 || r.Conflicts != 0 {
		t.Fatalf("got exit %d, %v, pending %d, conflicts %d, want whole", r.Exit, r.Broken, r.Pending, r.Conflicts)
	}
	// What nobody looked at is whole too.
	want := map[string]int64{"attempts": 5, "audit": 6, "batches": 7, "booked": 15, "events": 17, "inquiries": 2, "pages": 2, "receipts": 7}
	if fmt.Sprint(r.Counted) != fmt.Sprint(want) {
		t.Errorf("got %v rows looked at, want %v", r.Counted, want)
	}
}

// harm is one thing that is wrong. SQL names events and batches of the world as
// arguments; {name} in where stands for the id.
type harm struct {
	sql    string
	args   func(w *world) pgx.NamedArgs
	check  string
	where  string
	detail string
}

var harms = map[string]harm{
	// The events.
	"an event that no consumer got": {sql: `DELETE FROM event_runtime.quarantine WHERE event_id = @unpublishable`,
		check: "owed", where: "event {unpublishable} at pcm-ofb", detail: "neither a consumer row nor in quarantine"},
	"an event that was given back from quarantine and came nowhere": {
		sql:   `UPDATE event_runtime.quarantine SET resolution = 'requeued', resolved_at = now() WHERE event_id = @unreadable`,
		check: "owed", where: "event {unreadable} at pcm-ofb"},
	"a consumer row and quarantine": {sql: `INSERT INTO event_runtime.quarantine (stage, consumer, dedup_key, tenant_id, recorded_on, event_id, reason)
			VALUES ('ingest', 'pcm-ofb', 'x', 'acme-bank', event_runtime.event_day(@ineligible), @ineligible, 'too_large')`,
		check: "exactly_one", where: "event {ineligible} at pcm-ofb", detail: "a consumer row (ineligible:unlisted_endpoint) and in quarantine"},
	"a consumer row and set aside by the relay": {sql: `INSERT INTO event_runtime.quarantine (stage, consumer, dedup_key, tenant_id, recorded_on, event_id, reason)
			VALUES ('ingest', 'relay', 'x', 'acme-bank', event_runtime.event_day(@waiting), @waiting, 'too_large')`,
		check: "exactly_one", where: "event {waiting} at pcm-ofb"},
	"a consumer row without an outbox row": {sql: `DELETE FROM event_runtime.outbox WHERE event_id = @ineligible`,
		check: "ghost", where: "event {ineligible} at pcm-ofb", detail: "without an outbox row"},
	"a consumer row under another day": {sql: `UPDATE event_runtime.consumer_idempotency SET recorded_on = recorded_on - 1 WHERE event_id = @ineligible`,
		check: "ghost", where: "event {ineligible} at pcm-ofb"},
	"a consumer row under another tenant": {sql: `UPDATE event_runtime.consumer_idempotency SET tenant_id = 'other' WHERE event_id = @ineligible`,
		check: "ghost", where: "event {ineligible} at pcm-ofb"},
	"accepted and lost before it was sealed": {sql: `DELETE FROM event_runtime.lane_chunks WHERE event_ids = array[@waiting::uuid]`,
		check: "placed", where: "event {waiting} at pcm-ofb", detail: "in no chunk, no live batch"},
	"accepted and lost with its batch": {sql: `DELETE FROM event_runtime.export_batches WHERE batch_id = @posting`,
		check: "placed", where: "event {leaving} at pcm-ofb"},
	"taken over by nobody": {sql: `UPDATE event_runtime.export_batches SET superseded_by = array[gen_random_uuid()] WHERE batch_id = @posting`,
		check: "placed", where: "event {leaving} at pcm-ofb"},
	"set aside at submission and given back to nobody": {
		sql:   `UPDATE event_runtime.quarantine SET resolution = 'requeued', resolved_at = now() WHERE event_id = @set_aside`,
		check: "placed", where: "event {set_aside} at pcm-ofb"},
	"sealed and still waiting": {sql: `INSERT INTO event_runtime.lane_chunks (tenant_id, ecosystem, api, organisation_id, event_ids, items, bytes, oldest, deadline)
			SELECT tenant_id, ecosystem, api, organisation_id, event_ids, items, 1, oldest, deadline FROM event_runtime.export_batches WHERE batch_id = @posting`,
		check: "placed_once", where: "event {leaving} at pcm-ofb", detail: "in 1 chunks, 1 live batches"},
	"in two live batches": {sql: `UPDATE event_runtime.export_batches SET superseded_by = null WHERE batch_id = @asked`,
		check: "placed_once", where: "event {missing} at pcm-ofb", detail: "2 live batches"},
	"waits, and was not accepted": {sql: `UPDATE event_runtime.consumer_idempotency SET outcome = 'canary' WHERE event_id = @waiting`,
		check: "orphan", where: "event {waiting} at pcm-ofb"},
	"sent, and nobody has a row for it": {sql: `DELETE FROM event_runtime.consumer_idempotency WHERE event_id = @leaving`,
		check: "orphan", where: "event {leaving} at pcm-ofb"},
	"a consumer that is owed nothing": {sql: `DELETE FROM event_runtime.entitlements`,
		check: "entitlement", where: "consumer pcm-ofb", detail: "owed nothing"},

	// The report keys.
	"two accepted events with one report key": {sql: `ALTER TABLE event_runtime.consumer_idempotency DROP CONSTRAINT consumer_idempotency_report_key;
			UPDATE event_runtime.consumer_idempotency SET interaction_id = '6f0dcd5f-9a9c-4b6c-8e6c-0d4b0d1f9f11' WHERE event_id IN (@first, @second)`,
		check: "report_key", where: "interaction 6f0dcd5f-9a9c-4b6c-8e6c-0d4b0d1f9f11, SERVER of " + organisation.String(), detail: "2 accepted events"},

	// The running counts.
	"one accepted too many":      {sql: bump("accepted"), check: "counted", where: "{today} of tenant acme-bank at pcm-ofb", detail: "Accepted:12"},
	"one ineligible too many":    {sql: bump("ineligible"), check: "counted", where: "{today} of tenant acme-bank at pcm-ofb"},
	"one canary too many":        {sql: bump("canary"), check: "counted", where: "{today} of tenant acme-bank at pcm-ofb"},
	"one in quarantine too many": {sql: bump("quarantined"), check: "counted", where: "{today} of tenant acme-bank at pcm-ofb"},
	"a page is missing":          {sql: `DELETE FROM event_runtime.books WHERE tenant_id = 'platform'`, check: "counted", where: "{today} of tenant platform at pcm-ofb"},
	"a page of nothing":          {sql: `INSERT INTO event_runtime.books (day, tenant_id, consumer, accepted) VALUES ('2026-01-02', 'ghost', 'pcm-ofb', 1)`, check: "counted", where: "2026-01-02 of tenant ghost at pcm-ofb"},

	// What was frozen.
	"the body cannot be expanded": {sql: `UPDATE event_runtime.export_batches SET body = 'x' WHERE batch_id = @partial`, check: "frozen", where: "batch {partial}", detail: "cannot be expanded"},
	"another body": {sql: `UPDATE event_runtime.export_batches b SET body = o.body FROM event_runtime.export_batches o WHERE b.batch_id = @submitted AND o.batch_id = @partial`,
		check: "frozen", where: "batch {submitted}", detail: "not the ones that were sealed"},
	"another body hash":   {sql: `UPDATE event_runtime.export_batches SET body_sha256 = sha256('x') WHERE batch_id = @partial`, check: "frozen", where: "batch {partial}", detail: "not the ones that were sealed"},
	"another length":      {sql: `UPDATE event_runtime.export_batches SET body_bytes = body_bytes + 1 WHERE batch_id = @partial`, check: "frozen", where: "batch {partial}", detail: "not the ones that were sealed"},
	"another Merkle root": {sql: `UPDATE event_runtime.export_batches SET merkle_root = sha256('x') WHERE batch_id = @partial`, check: "frozen", where: "batch {partial}", detail: "Merkle root"},
	"another item hash": {sql: `UPDATE event_runtime.export_batches SET item_hashes = set_byte(item_hashes, 40, get_byte(item_hashes, 40) # 1) WHERE batch_id = @partial`,
		check: "frozen", where: "batch {partial}", detail: "Merkle root"},
	"item hashes and root forged together": {sql: `UPDATE event_runtime.export_batches SET item_hashes = @hashes, merkle_root = @root WHERE batch_id = @posting`, args: forged,
		check: "frozen", where: "batch {posting}", detail: "items do not match their hashes"},
	"body and its hash forged together": {sql: `UPDATE event_runtime.export_batches SET body = @body, body_sha256 = @sum, body_bytes = @bytes WHERE batch_id = @posting`, args: forged,
		check: "frozen", where: "batch {posting}", detail: "items do not match their hashes"},
	"a body with an item more": {sql: `UPDATE event_runtime.export_batches SET body = @longer, body_sha256 = @longer_sum, body_bytes = @longer_bytes WHERE batch_id = @posting`, args: forged,
		check: "frozen", where: "batch {posting}", detail: "do not hold 1 items"},

	// A batch and its receipts.
	"submitted without a receipt":  {sql: `DELETE FROM event_runtime.submission_receipts WHERE event_id = @second`, check: "receipted", where: "batch {submitted}", detail: "position 1 has no receipt"},
	"submitted with a refusal":     {sql: `UPDATE event_runtime.submission_receipts SET accepted = false WHERE event_id = @second`, check: "receipted", where: "batch {submitted}", detail: "1 items were refused"},
	"a receipt for no item":        {sql: `UPDATE event_runtime.submission_receipts SET position = 2 WHERE event_id = @second`, check: "receipted", where: "batch {submitted}", detail: "position 2 of 2"},
	"partially, but nothing taken": {sql: `UPDATE event_runtime.submission_receipts SET accepted = false WHERE batch_id = @partial`, check: "receipted", where: "batch {partial}"},
	"rejected, but something taken": {sql: `UPDATE event_runtime.submission_receipts SET accepted = true WHERE event_id = @all_refused`,
		check: "receipted", where: "batch {rejected}", detail: "1 items were accepted"},
	"open again with its receipts": {sql: `UPDATE event_runtime.export_batches SET state = 'submit_unconfirmed' WHERE batch_id = @submitted`,
		check: "receipted", where: "batch {submitted}", detail: "submit_unconfirmed, but there are 2 receipts"},
	"sent twice, answered twice": {sql: `INSERT INTO event_runtime.submission_receipts (received_on, batch_id, attempt, position, tenant_id, event_id, source, status, accepted, report_id, received_at)
			SELECT received_on, batch_id, 2, position, tenant_id, event_id, source, status, accepted, gen_random_uuid(), received_at FROM event_runtime.submission_receipts WHERE event_id = @first`,
		check: "receipted", where: "batch {submitted}", detail: "position 0 has 2 receipts"},
	"taken over, and here is its receipt": {sql: `UPDATE event_runtime.export_batches SET superseded_by = array[@sealed, null]::uuid[] WHERE batch_id = @submitted`,
		check: "receipted", where: "batch {submitted}", detail: "taken over by another batch"},
	"a receipt about another event": {sql: `UPDATE event_runtime.submission_receipts SET event_id = @waiting WHERE event_id = @second`,
		check: "receipt_item", where: "batch {submitted} position 1"},

	// The attempts.
	"an attempt without a row": {sql: `UPDATE event_runtime.export_batches SET attempt = 2 WHERE batch_id = @submitted`, check: "attempts", where: "batch {submitted}", detail: "attempt 2 of 2"},
	"an attempt's row is gone": {sql: `DELETE FROM event_runtime.submission_attempts WHERE batch_id = @unconfirmed`, check: "attempts", where: "batch {unconfirmed}", detail: "attempt 1 of 1"},
	"a row without an attempt": {sql: `UPDATE event_runtime.export_batches SET attempt = 0 WHERE batch_id = @unconfirmed`, check: "attempts", where: "batch {unconfirmed}", detail: "1 attempts have rows, 0 were made"},

	// The receipts and their answers.
	"receipts without an answer":    {sql: `UPDATE event_runtime.submission_attempts SET raw = null WHERE batch_id = @submitted`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "no stored answer"},
	"an answer that is no answer":   {sql: `UPDATE event_runtime.submission_attempts SET raw = 'x' WHERE batch_id = @submitted`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "cannot be expanded"},
	"an answer with another hash":   {sql: `UPDATE event_runtime.submission_attempts SET raw_sha256 = sha256('x') WHERE batch_id = @submitted`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "does not match its hash"},
	"an answer without its hash":    {sql: `UPDATE event_runtime.submission_attempts SET raw_sha256 = null WHERE batch_id = @submitted`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "does not match its hash"},
	"a report id out of thin air":   {sql: `UPDATE event_runtime.submission_receipts SET report_id = gen_random_uuid() WHERE event_id = @second`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "position 1 is not in the answer"},
	"another status":                {sql: `UPDATE event_runtime.submission_receipts SET status = 'PAIRED' WHERE event_id = @second`, check: "answer", where: "attempt 1 of batch {submitted}", detail: "position 1 is not in the answer"},
	"a refusal that became a yes":   {sql: `UPDATE event_runtime.submission_receipts SET accepted = NOT accepted, status = 'ACCEPTED' WHERE event_id IN (@refused, @taken)`, check: "answer", where: "attempt 1 of batch {partial}", detail: "position 1 is not in the answer"},
	"two receipts changed places":   {sql: `UPDATE event_runtime.submission_receipts SET position = 9 WHERE event_id = @refused; UPDATE event_runtime.submission_receipts SET position = 1 WHERE event_id = @taken_too; UPDATE event_runtime.submission_receipts SET position = 2 WHERE event_id = @refused`, check: "answer", where: "attempt 1 of batch {partial}", detail: "position 1 is not in the answer"},
	"a receipt without its attempt": {sql: `UPDATE event_runtime.submission_receipts SET late = true WHERE event_id = @second`, check: "answer", where: "batch {submitted} position 1", detail: "without the attempt"},
	"a receipt of no batch": {sql: `INSERT INTO event_runtime.submission_receipts (received_on, batch_id, attempt, position, tenant_id, event_id, source, status, accepted, report_id, received_at)
			SELECT received_on, @waiting, 1, 0, tenant_id, @waiting, source, status, accepted, gen_random_uuid(), received_at FROM event_runtime.submission_receipts WHERE event_id = @first`,
		check: "answer", where: "batch {waiting} position 0", detail: "without the attempt"},
	"one report id for two events": {sql: `UPDATE event_runtime.submission_receipts SET report_id = '6f0dcd5f-9a9c-4b6c-8e6c-0d4b0d1f9f11' WHERE event_id IN (@first, @second)`,
		check: "report_id", where: "report 6f0dcd5f-9a9c-4b6c-8e6c-0d4b0d1f9f11", detail: "2 receipts of answers"},
	"a report id of another event, found by asking": {sql: `UPDATE event_runtime.submission_receipts SET report_id = (SELECT report_id FROM event_runtime.submission_receipts WHERE event_id = @first) WHERE event_id = @found`,
		check: "report_id", where: "report ", detail: "for 2 events"},

	// What was asked.
	"found, but nobody asked":              {sql: `DELETE FROM event_runtime.submission_inquiries WHERE position = 0`, check: "inquiry", where: "item 0 of batch {asked}", detail: "the answer is not there"},
	"found in an answer that says nothing": {sql: `UPDATE event_runtime.submission_inquiries SET answer = 'nothing' WHERE position = 0`, check: "inquiry", where: "item 0 of batch {asked}", detail: "the answer is not there"},
	"found in no stored answer":            {sql: `UPDATE event_runtime.submission_inquiries SET raw = null WHERE position = 0`, check: "inquiry", where: "probe 1 of item 0 of batch {asked}", detail: "no stored answer"},
	"found under another report id":        {sql: `UPDATE event_runtime.submission_receipts SET report_id = gen_random_uuid() WHERE event_id = @found`, check: "inquiry", where: "probe 1 of item 0 of batch {asked}", detail: "not in the answer"},
	"an inquiry's answer with another hash": {sql: `UPDATE event_runtime.submission_inquiries SET raw_sha256 = sha256('x') WHERE position = 1`,
		check: "inquiry", where: "probe 1 of item 1 of batch {asked}", detail: "does not match its hash"},
	"an inquiry's answer that is none": {sql: `UPDATE event_runtime.submission_inquiries SET raw = 'x' WHERE position = 1`, check: "inquiry", where: "probe 1 of item 1 of batch {asked}", detail: "cannot be expanded"},

	// The ledger.
	"an audit actor":          {sql: ledger(`actor = 'uid-2'`), check: "audit", where: "chain acme-bank, row 2", detail: "row does not match its hash"},
	"an audit action":         {sql: ledger(`action = 'batch.nothing'`), check: "audit", where: "chain acme-bank, row 2", detail: "row does not match its hash"},
	"an audit subject":        {sql: ledger(`subject = 'x'`), check: "audit", where: "chain acme-bank, row 2", detail: "row does not match its hash"},
	"an audit time":           {sql: ledger(`ts = ts + interval '1 microsecond'`), check: "audit", where: "chain acme-bank, row 2", detail: "row does not match its hash"},
	"an audit time gone back": {sql: ledger(`ts = ts - interval '1 hour'`), check: "audit", where: "chain acme-bank, row 2", detail: "time goes back"},
	"an audit payload":        {sql: ledger(`payload_bytes = '{"n":7}'`), check: "audit", where: "chain acme-bank, row 2", detail: "payload does not match"},
	"an audit payload hash":   {sql: ledger(`payload_sha256 = sha256('x')`), check: "audit", where: "chain acme-bank, row 2", detail: "payload does not match"},
	"an audit link":           {sql: ledger(`prev_hash = sha256('x')`), check: "audit", where: "chain acme-bank, row 2", detail: "does not link"},
	"an audit hash":           {sql: ledger(`hash = sha256('x')`), check: "audit", where: "chain acme-bank, row 2", detail: "row does not match its hash"},
	"an audit row moved":      {sql: ledger(`seq = 9`), check: "audit", where: "chain acme-bank, row 3", detail: "jumps from 1 to 3"},
	"an audit row in another chain": {sql: `UPDATE event_runtime.audit_ledger SET chain_id = 'other' WHERE chain_id = 'platform' AND seq = 1`,
		check: "audit", where: "chain other, row 1", detail: "row does not match its hash"},
	"the first audit row is gone":  {sql: `DELETE FROM event_runtime.audit_ledger WHERE chain_id = 'platform' AND seq = 1`, check: "audit", where: "chain platform, row 2", detail: "jumps from 0 to 2"},
	"a middle audit row is gone":   {sql: `DELETE FROM event_runtime.audit_ledger WHERE chain_id = 'acme-bank' AND seq = 2`, check: "audit", where: "chain acme-bank, row 3", detail: "jumps from 1 to 3"},
	"two audit rows changed seats": {sql: ledger(`seq = 99`) + `; UPDATE event_runtime.audit_ledger SET seq = 2 WHERE seq = 3; UPDATE event_runtime.audit_ledger SET seq = 3 WHERE seq = 99`, check: "audit", where: "chain acme-bank, row 2", detail: "does not link"},
}

func bump(column string) string {
	return fmt.Sprintf(`UPDATE event_runtime.books SET %[1]s = %[1]s + 1 WHERE tenant_id = 'acme-bank'`, column)
}

func ledger(set string) string {
	return `UPDATE event_runtime.audit_ledger SET ` + set + ` WHERE chain_id = 'acme-bank' AND seq = 2`
}

// forged makes frozen parts that fit each other, but not the batch.
func forged(w *world) pgx.NamedArgs {
	w.t.Helper()
	other := []event.ID{w.id["waiting"]}
	body, hashes, root, stored, sum := frozen(w.t, other)
	longer, _, _, longerStored, longerSum := frozen(w.t, append(other, w.id["leaving"]))
	return pgx.NamedArgs{"hashes": hashes, "root": root, "body": stored, "sum": sum, "bytes": len(body),
		"longer": longerStored, "longer_sum": longerSum, "longer_bytes": len(longer)}
}

// Each case is a transaction of the superuser that is rolled back.
func TestEveryHarmIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.db.Conn(testenv.Superuser)
	for name, h := range harms {
		t.Run(name, func(t *testing.T) {
			w.t = t
			r := w.after(conn, h, Options{Split: splitters})
			where := w.named(h.where)
			if r.Exit != Broken || !slices.ContainsFunc(r.Broken, func(f Finding) bool {
				return f.Check == h.check && strings.HasPrefix(f.Where, where) && strings.Contains(f.Detail, h.detail)
			}) {
				t.Fatalf("got exit %d, %v, want %s at %q: %q", r.Exit, r.Broken, h.check, where, h.detail)
			}
		})
	}
}

// after looks at the world with one harm in it.
func (w *world) after(conn *pgx.Conn, h harm, opt Options) (r *Report) {
	w.t.Helper()
	ctx := w.t.Context()
	tx, err := conn.Begin(ctx)
	w.must(err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	w.tx = tx
	w.unguard()
	args := pgx.NamedArgs{}
	for name, id := range w.id {
		args[name] = id
	}
	if h.args != nil {
		for name, value := range h.args(w) {
			args[name] = value
		}
	}
	changed := false
	for sql := range strings.SplitSeq(h.sql, ";") {
		tag, err := tx.Exec(ctx, sql, args)
		w.must(err)
		changed = changed || tag.RowsAffected() > 0
	}
	if !changed {
		w.t.Fatal("the harm changed nothing")
	}
	r, err = look(ctx, tx, opt)
	w.must(err)
	return r
}

// unguard takes every guard away that a superuser can: this is what verify is for.
func (w *world) unguard() {
	w.t.Helper()
	w.exec(`SET LOCAL session_replication_role = replica`)
	for _, table := range []string{"outbox", "export_batches", "submission_attempts", "submission_inquiries", "submission_receipts", "audit_ledger"} {
		w.exec(`ALTER TABLE event_runtime.` + table + ` DISABLE TRIGGER USER`)
	}
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

func (w *world) named(where string) string {
	return placeholder.ReplaceAllStringFunc(where, func(name string) string {
		name = strings.Trim(name, "{}")
		if name == "today" {
			return w.id["waiting"].Day().Format(time.DateOnly)
		}
		id, ok := w.id[name]
		if !ok {
			w.t.Fatalf("nothing is called %s", name)
		}
		return id.String()
	})
}

func TestWhatIsOnItsWayIsIncomplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.db.Conn(testenv.Superuser)
	missing := harm{sql: `DELETE FROM event_runtime.quarantine WHERE event_id = @unpublishable`}
	for name, tc := range map[string]struct {
		grace time.Duration
		harm  harm
		want  int
	}{
		"young":                     {time.Hour, missing, Incomplete},
		"older than the grace":      {time.Nanosecond, missing, Broken},
		"no grace":                  {0, missing, Broken},
		"young, and something else": {time.Hour, harm{sql: missing.sql + `; DELETE FROM event_runtime.lane_chunks`}, Broken},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			r := w.after(conn, tc.harm, Options{Grace: tc.grace, Split: splitters})
			if r.Exit != tc.want {
				t.Fatalf("got exit %d, %v, pending %d, want %d", r.Exit, r.Broken, r.Pending, tc.want)
			}
			if pending := tc.grace == time.Hour; (r.Pending == 1) != pending {
				t.Fatalf("got %d pending, want one: %v", r.Pending, pending)
			}
		})
	}
}

// Another consumer may be owed what one reports: the lanes are not its.
const besides = `
INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since) VALUES ('watcher', 'ofb', 'interaction', '00000000-0000-7000-8000-000000000000');
INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash)
SELECT tenant_id, recorded_on, event_id, 'watcher', 'ineligible:watched', sha256('x') FROM event_runtime.outbox WHERE event_type LIKE 'interaction.%' AND event_id <> @unpublishable;
INSERT INTO event_runtime.books (day, tenant_id, consumer, ineligible)
SELECT recorded_on, tenant_id, consumer, count(*) FROM event_runtime.consumer_idempotency WHERE consumer = 'watcher' GROUP BY 1, 2, 3`

func TestAConsumerBesidesTheReportingOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.db.Conn(testenv.Superuser)
	if r := w.after(conn, harm{sql: besides}, Options{Split: splitters}); r.Exit != Whole {
		t.Errorf("got exit %d: %v", r.Exit, r.Broken)
	}
	for name, h := range map[string]harm{
		"a row of it is missing": {check: "owed", where: "event {leaving} at watcher",
			sql: besides + `; DELETE FROM event_runtime.consumer_idempotency WHERE consumer = 'watcher' AND event_id = @leaving`},
		"it accepts what it cannot report": {check: "placed", where: "event {leaving} at watcher",
			sql: besides + `; UPDATE event_runtime.consumer_idempotency SET outcome = 'accepted' WHERE consumer = 'watcher' AND event_id = @leaving`},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			r := w.after(conn, h, Options{Split: splitters})
			if r.Exit != Broken || len(r.Broken) == 0 || r.Broken[0].Check != h.check || r.Broken[0].Where != w.named(h.where) {
				t.Errorf("got exit %d, %v, want %s at %s first", r.Exit, r.Broken, h.check, w.named(h.where))
			}
		})
	}
}

func TestAConflictIsCountedBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.after(w.db.Conn(testenv.Superuser), harm{sql: `INSERT INTO event_runtime.event_conflicts (consumer, tenant_id, recorded_on, event_id, first_hash, other_hash, subject)
		VALUES ('pcm-ofb', 'acme-bank', event_runtime.event_day(@waiting), @waiting, 'a', 'b', 'x')`}, Options{Split: splitters})
	if r.Exit != Whole || r.Conflicts != 1 {
		t.Fatalf("got exit %d, %d conflicts, want whole with one", r.Exit, r.Conflicts)
	}
}

// A flood of findings keeps the first ones and counts the others.
func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.after(w.db.Conn(testenv.Superuser), harm{sql: `INSERT INTO event_runtime.books (day, tenant_id, consumer, accepted) SELECT '2026-01-01'::date + n, 'x', 'pcm-ofb', 1 FROM generate_series(1, 30) n`},
		Options{Split: splitters})
	if r.Exit != Broken || len(r.Broken) != most || r.BrokenMore != 30-most {
		t.Fatalf("got exit %d, %d findings and %d more, want %d and %d", r.Exit, len(r.Broken), r.BrokenMore, most, 30-most)
	}
}

func TestADatabaseThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	if r, err := Run(t.Context(), db.Pool("runtime_producer"), Options{}); err == nil {
		t.Errorf("a role that may not read: got %+v, want an error", r)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ended, db.Pool("runtime_readonly"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to end with its context", err)
	}
}
