package consumer

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// terms hears from the server which messages were terminated, and why.
type terms struct {
	mu  sync.Mutex
	why map[string]string // by stream and sequence
}

func (r *rig) terms() *terms {
	r.t.Helper()
	heard := &terms{why: map[string]string{}}
	_, err := r.nats.Conn().Subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.*.*", func(m *nats.Msg) {
		var advisory struct {
			Stream string `json:"stream"`
			Seq    uint64 `json:"stream_seq"`
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(m.Data, &advisory)
		heard.mu.Lock()
		defer heard.mu.Unlock()
		heard.why[fmt.Sprint(advisory.Stream, advisory.Seq)] = advisory.Reason
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return heard
}

func (h *terms) of(stream string, seq uint64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why[fmt.Sprint(stream, seq)]
}

func (h *terms) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.why)
}

// notices reads the stream DLQ from its beginning, by Nats-Msg-Id.
func (r *rig) notices() map[string]jetstream.Msg {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), transport.DLQ)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := stream.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]jetstream.Msg{}
	if info.State.Msgs == 0 {
		return all
	}
	c, err := stream.OrderedConsumer(r.t.Context(), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		r.t.Fatal(err)
	}
	batch, err := c.FetchNoWait(int(info.State.Msgs))
	if err != nil {
		r.t.Fatal(err)
	}
	for msg := range batch.Messages() {
		all[msg.Headers().Get(jetstream.MsgIDHeader)] = msg
	}
	if len(all) != int(info.State.Msgs) {
		r.t.Fatalf("DLQ: read %d of %d notices", len(all), info.State.Msgs)
	}
	return all
}

// sequences finds where on its stream each draft went.
func (r *rig) sequences(drafts map[string]*draft) map[string]*jetstream.RawStreamMsg {
	r.t.Helper()
	byID := map[string]*jetstream.RawStreamMsg{}
	for _, name := range []string{transport.Interactions, transport.Events} {
		stream, err := r.js.Stream(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		info, err := stream.Info(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
			msg, err := stream.GetMsg(r.t.Context(), seq)
			if err != nil {
				r.t.Fatal(err)
			}
			byID[msg.Header.Get(jetstream.MsgIDHeader)] = msg
		}
	}
	found := map[string]*jetstream.RawStreamMsg{}
	for name, d := range drafts {
		found[name] = byID[d.msgID]
	}
	return found
}

// standing are all rows that ingest makes, counted. Duplicates are no row.
const sqlStanding = `
SELECT jsonb_build_object(
  'rows', (SELECT count(*) FROM event_runtime.consumer_idempotency), 'waiting', (SELECT coalesce(sum(items), 0) FROM event_runtime.lane_chunks),
  'quarantine', (SELECT count(*) FROM event_runtime.quarantine), 'conflicts', (SELECT count(*) FROM event_runtime.event_conflicts),
  'books', (SELECT coalesce(jsonb_agg(jsonb_build_array(day, tenant_id, accepted, ineligible, canary, quarantined) ORDER BY day, tenant_id), '[]') FROM event_runtime.books))::text`

func (r *rig) standing() (all string) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), sqlStanding).Scan(&all); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// replay delivers both streams again from their first message, as after an
// operator made the durable consumers anew.
func (r *rig) replay() {
	r.t.Helper()
	for _, stream := range []string{transport.Interactions, transport.Events} {
		if err := r.js.DeleteConsumer(r.t.Context(), stream, transport.PCMOFB); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := transport.Provision(r.t.Context(), r.js, r.pool, smallStreams, time.Now()); err != nil {
		r.t.Fatal(err)
	}
	stop := r.start()
	r.settled()
	stop()
}

// Every row of the classification goes the whole way: the message is published,
// its row committed, the DLQ told, the message settled; and when the stream is
// delivered once more from its beginning, nothing changes.
func TestEveryReasonEndToEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := r.terms()
	drafts := map[string]*draft{}
	for name, tc := range rulings() {
		drafts[name] = tc.message
		if tc.want.answer == Ack {
			r.append(tc.message) // a row without an outbox row would be a ghost
		}
		r.publish(tc.message)
	}
	stop := r.start()
	r.settled()
	r.allTold()
	stop()
	for _, stream := range []string{transport.Interactions, transport.Events} {
		if info := r.durable(stream); info.AckFloor.Stream != info.Delivered.Stream || info.NumRedelivered != 0 {
			t.Errorf("%s: got ack floor %d, %d redelivered, want %d and none", stream, info.AckFloor.Stream, info.NumRedelivered, info.Delivered.Stream)
		}
	}
	notices, published, terminated := r.notices(), r.sequences(drafts), 0
	for name, tc := range rulingsOf(drafts) {
		if tc.want.answer == Term {
			terminated++
		}
		t.Run(name, func(t *testing.T) {
			if tc.want.answer == Ack {
				wantRow(t, r, tc.message, tc.want)
				return
			}
			wantAside(t, r, tc.message, tc.want, published[name], notices, heard)
		})
	}
	eventually(t, "the server has told every term", func() bool { return heard.count() == terminated })
	if len(notices) != terminated {
		t.Errorf("got %d notices, want %d", len(notices), terminated)
	}
	r.whole()

	before := r.standing()
	r.replay()
	if after := r.standing(); after != before {
		t.Errorf("delivered again:\ngot  %s\nwant %s", after, before)
	}
	if again := len(r.notices()); again != len(notices) {
		t.Errorf("delivered again: got %d notices, want %d", again, len(notices))
	}
	if got := r.logs.named("event.quarantined"); got != terminated {
		t.Errorf("got %d lines about quarantine, want one each, %d", got, terminated)
	}
	r.whole()
}

// rulingsOf are the rulings with the very messages that were published.
func rulingsOf(drafts map[string]*draft) map[string]struct {
	message *draft
	want    ruling
} {
	all := rulings()
	for name, tc := range all {
		tc.message = drafts[name]
		all[name] = tc
	}
	return all
}

func wantRow(t *testing.T, r *rig, d *draft, want ruling) {
	t.Helper()
	outcome := string(want.reason)
	if want.why != "" {
		outcome += ":" + want.why
	}
	tenant, _ := d.record["tenant_id"].(string)
	if got := r.place(tenant, d.id); got != outcome {
		t.Errorf("got %q, want %q", got, outcome)
	}
	waits := r.count(`SELECT count(*) FROM event_runtime.lane_chunks WHERE $1 = any(event_ids)`, d.id)
	if accepted := want.reason == Accepted; (waits == 1) != accepted || waits > 1 {
		t.Errorf("got %d chunks with it, accepted %v", waits, accepted)
	}
}

// wantAside holds a quarantined message against its row, its notice and its term.
func wantAside(t *testing.T, r *rig, d *draft, want ruling, raw *jetstream.RawStreamMsg, notices map[string]jetstream.Msg, heard *terms) {
	t.Helper()
	var id, seq int64
	var reason, detail, tenant, stream, subject string
	var event *event.ID
	var sum []byte
	var size int
	err := r.pool.QueryRow(t.Context(), `
		SELECT quarantine_id, reason, coalesce(detail, ''), coalesce(tenant_id, ''), event_id, payload_sha256, coalesce(payload_bytes, 0), stream, stream_seq, subject
		  FROM event_runtime.quarantine WHERE stream = $1 AND stream_seq = $2`, streamOf(raw), int64(raw.Sequence)).
		Scan(&id, &reason, &detail, &tenant, &event, &sum, &size, &stream, &seq, &subject)
	if err != nil {
		t.Fatalf("no row of quarantine: %v", err)
	}
	hash := sha256.Sum256(d.bytes())
	if reason != string(want.reason) || want.where != "" && detail != want.where || !bytes.Equal(sum, hash[:]) || size != len(d.bytes()) {
		t.Errorf("got row %s at %s, %d bytes; want %s at %s, %d bytes", reason, detail, size, want.reason, want.where, len(d.bytes()))
	}
	if got := heard.of(stream, raw.Sequence); got != reason {
		t.Errorf("got term %q, want %q", got, reason)
	}
	notice, ok := notices[fmt.Sprintf("quarantine-%d", id)]
	if !ok {
		t.Fatal("the DLQ was not told")
	}
	if wantSubject := transport.DLQSubject(transport.PCMOFB, tenant, reason); notice.Subject() != wantSubject {
		t.Errorf("got notice on %s, want %s", notice.Subject(), wantSubject)
	}
	var told quarantine.Notice
	if err := json.Unmarshal(notice.Data(), &told); err != nil {
		t.Fatal(err)
	}
	if told.ID != id || told.Reason != reason || told.Detail != detail || told.TenantID != tenant || told.StreamSeq != seq || !bytes.Equal(told.SHA256, hash[:]) || told.Stage != quarantine.Ingest {
		t.Errorf("got notice %s, which is not the row", notice.Data())
	}
	if body := d.bytes(); len(body) > 8 && bytes.Contains(notice.Data(), body[:8]) || bytes.Contains(notice.Data(), []byte("payload\":{")) {
		t.Errorf("the notice holds the payload: %s", notice.Data())
	}
}

// streamOf is where a message of ours is stored.
func streamOf(raw *jetstream.RawStreamMsg) string {
	if bytes.HasPrefix([]byte(raw.Subject), []byte("p.")) {
		return transport.Events
	}
	return transport.Interactions
}

// Whatever a relay, a backfill or a sweep makes of a row, it is the same event.
func TestDuplicatesAreOneEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := newDraft()
	r.append(first)
	forms := map[string]*draft{
		"sent twice":                    first.again(),
		"as a backfill reads it":        first.again(raw(`"action":"read"`, `"metadata":{"commit_lsn":null,"commit_idx":null}`)),
		"recorded later":                first.again(column("recorded_at", "2026-01-01T00:00:00.000000Z")),
		"within another trace":          first.again(column("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
		"with keys in another order":    first.again(reordered()),
		"with numbers spelt otherwise":  first.again(field("processTimespan", json.RawMessage("1.20500e2")), field("statusCode", json.RawMessage("200"))),
		"with a column of next release": first.again(column("new_column", 1)),
		"without a Nats-Msg-Id":         first.again(header("-")),
	}
	r.publish(first)
	stop := r.start()
	r.settled()
	for name, form := range forms {
		before := r.count(`SELECT sum(duplicates) FROM event_runtime.books`)
		r.publish(form)
		r.settled()
		if got := r.count(`SELECT sum(duplicates) FROM event_runtime.books`) - before; got != 1 {
			t.Errorf("%s: got %d duplicates, want 1", name, got)
		}
	}
	stop()
	if got := r.place(acme, first.id); got != "accepted" {
		t.Errorf("got %q, want one accepted row", got)
	}
	if report := r.whole(); report.Conflicts != 0 {
		t.Errorf("got %d conflicts, want none", report.Conflicts)
	}
}

// raw writes the frame around the record by hand.
func raw(members ...string) with {
	return func(d *draft) {
		var message map[string]json.RawMessage
		if err := json.Unmarshal(d.bytes(), &message); err != nil {
			panic(err)
		}
		d.body = []byte(`{"record":` + string(message["record"]))
		for _, member := range members {
			d.body = append(append(d.body, ','), member...)
		}
		d.body = append(d.body, '}')
	}
}

// reordered writes the record's members from last to first.
func reordered() with {
	return func(d *draft) {
		backwards := func(members map[string]any) []byte {
			body := []byte("{")
			names := sortedKeys(members)
			for n := len(names) - 1; n >= 0; n-- {
				value, err := json.Marshal(members[names[n]])
				if err != nil {
					panic(err)
				}
				body = append(fmt.Appendf(body, "%q:", names[n]), value...)
				if n > 0 {
					body = append(body, ',')
				}
			}
			return append(body, '}')
		}
		record := map[string]any{"payload": json.RawMessage(backwards(d.payload))}
		for name, value := range d.record {
			record[name] = value
		}
		d.body = append(append([]byte(`{"record":`), backwards(record)...), `,"action":"insert"}`...)
	}
}

// The same id with another payload: nobody can say which one is true. The first
// keeps its row, the other is kept beside it once, and a person is told.
func TestConflict(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := r.terms()
	first := newDraft()
	other := first.again(field("statusCode", 500))
	broken := first.again(field("statusCode", 5000))
	unreadable := first.again(header(first.id.String()+"x"), bytesOf("{"))
	r.append(first)
	r.publish(first)
	stop := r.start()
	r.settled()
	r.publish(other, other.again(), broken)
	r.settled()
	// The server would take the very same Nats-Msg-Id for a repetition, so what an
	// unreadable copy says it is comes by another way.
	unreadable.msgID = first.id.String()
	met, err := (&store{pool: r.pool, consumer: transport.PCMOFB, now: time.Now}).persist(t.Context(), []Decision{Classify(unreadable.delivered(1), r.known())})
	if err != nil || met[0].Reason != Conflict {
		t.Errorf("an unreadable copy: got %v, %v, want a conflict", met, err)
	}
	stop()
	if got := r.place(acme, first.id); got != "accepted" {
		t.Errorf("got %q, want the first one's row and nothing else", got)
	}
	rows := r.count(`SELECT count(*) FROM event_runtime.event_conflicts WHERE event_id = $1 AND tenant_id = 'acme-bank'
		AND first_hash = (SELECT payload_hash FROM event_runtime.consumer_idempotency WHERE event_id = $1) AND first_hash <> other_hash`, first.id)
	if rows != 3 {
		t.Errorf("got %d conflicts with both hashes, want one of each kind, 3", rows)
	}
	if got := r.count(`SELECT conflicts FROM event_runtime.books WHERE tenant_id = 'acme-bank'`); got != 4 {
		t.Errorf("got %d in the books, want each time, 4", got)
	}
	eventually(t, "three terms are heard", func() bool { return heard.count() == 3 })
	for seq := uint64(2); seq <= 4; seq++ {
		if got := heard.of(transport.Interactions, seq); got != string(Conflict) {
			t.Errorf("message %d: got term %q, want conflict", seq, got)
		}
	}
	if got := r.logs.named("event.conflicted"); got != 3 {
		t.Errorf("got %d lines, want 3", got)
	}
	if report := r.whole(); report.Conflicts != 3 {
		t.Errorf("verify counts %d conflicts, want 3", report.Conflicts)
	}
}

// Two consumers of one durable share its messages; events that come to both are
// one event.
func TestTwoConsumersOfOneDurable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.BatchSize = 20
	var all []*draft
	for n := range 300 {
		d := newDraft()
		if n%10 == 0 {
			d = newDraft(of(globex))
		}
		all = append(all, d)
	}
	r.append(all...)
	first, second := r.start(), r.start()
	for _, d := range all {
		r.publish(d, d.again(), d.again())
	}
	r.settled()
	first()
	second()
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`); got != int64(len(all)) {
		t.Errorf("got %d rows, want %d", got, len(all))
	}
	if got := r.count(`SELECT sum(duplicates) FROM event_runtime.books`); got != 2*int64(len(all)) {
		t.Errorf("got %d duplicates, want %d", got, 2*len(all))
	}
	r.whole()
}

func TestAThousandInOneHand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.BatchSize, r.cfg.BatchWait = 1000, time.Second
	all := make([]*draft, 1000)
	for n := range all {
		all[n] = newDraft()
	}
	r.append(all...)
	r.publish(all...)
	stop := r.start()
	r.settled()
	stop()
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency WHERE outcome = 'accepted'`); got != 1000 {
		t.Errorf("got %d rows, want 1000", got)
	}
	if got := r.count(`SELECT max(items) FROM event_runtime.lane_chunks`); got != 1000 {
		t.Errorf("got a largest chunk of %d items, want all thousand of one hand", got)
	}
	r.whole()
}
