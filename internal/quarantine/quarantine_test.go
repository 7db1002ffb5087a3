package quarantine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

const cpf, email = "529.982.247-25", "maria@example.com"

// entry is one thing set aside, with everything that can be known.
func entry(key string) Entry {
	id := event.NewID(time.Now())
	day := id.Day()
	return Entry{Stage: Ingest, Consumer: transport.PCMOFB, Key: key, TenantID: "acme-bank", EventID: &id, RecordedOn: &day, Reason: "schema_invalid", Detail: "payload.statusCode",
		Subject: "interactions.acme-bank.ofb", SHA256: bytes.Repeat([]byte{7}, 32), Bytes: 512, Stream: transport.Interactions, StreamSeq: 42}
}

type rig struct {
	t    *testing.T
	pool *pgxpool.Pool
	nats *testenv.NATSServer
	js   jetstream.JetStream
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: testenv.Postgres(t).Pool("runtime_worker"), nats: testenv.NATS(t)}
	r.js = r.nats.JetStream()
	limits := transport.Limits{Replicas: 1, InteractionsBytes: 16 << 20, EventsBytes: 16 << 20, DLQBytes: 16 << 20}
	if err := transport.Provision(t.Context(), r.js, r.pool, limits, time.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

// insert sets entries aside in one transaction, and says which were new.
func (r *rig) insert(entries ...Entry) (fresh []bool) {
	r.t.Helper()
	err := pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		for _, e := range entries {
			isNew, err := Insert(r.t.Context(), tx, e)
			if err != nil {
				return err
			}
			fresh = append(fresh, isNew)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return fresh
}

func (r *rig) announce() {
	r.t.Helper()
	if err := Announce(r.t.Context(), r.pool, r.js); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) count(sql string) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), sql).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) unannounced() int {
	return r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE published_at IS NULL`)
}

// told is the stream DLQ from its beginning.
func (r *rig) told() (all []*jetstream.RawStreamMsg) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), transport.DLQ)
	if err != nil {
		r.t.Fatal(err)
	}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, msg)
	}
	return all
}

// The same thing again changes nothing; the same key at another stage or for
// another consumer is another thing.
func TestInsert(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := entry("k")
	again, submit, webhooks := entry("k"), entry("k"), entry("k")
	again.Reason, submit.Stage, webhooks.Consumer = "unreadable", Submit, "webhooks"
	if got, want := fmt.Sprint(r.insert(first, again, submit, webhooks)), "[true false true true]"; got != want {
		t.Errorf("got new %s, want %s", got, want)
	}
	if got := r.insert(first)[0]; got {
		t.Error("got it new in another transaction")
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE reason = 'schema_invalid'`); got != 3 {
		t.Errorf("got %d rows with the first one's reason, want 3", got)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE stage = 'ingest' AND consumer = 'pcm-ofb' AND dedup_key = 'k' AND tenant_id = 'acme-bank' AND detail = 'payload.statusCode'
		AND recorded_on = event_runtime.event_day(event_id) AND subject = 'interactions.acme-bank.ofb' AND payload_sha256 = decode(repeat('07', 32), 'hex') AND payload_bytes = 512
		AND stream = 'INTERACTIONS' AND stream_seq = 42 AND batch_id IS NULL AND published_at IS NULL AND resolved_at IS NULL`); got != 1 {
		t.Errorf("got %d rows with what was given, want 1", got)
	}
	r.insert(Entry{Stage: Ingest, Consumer: transport.PCMOFB, Key: "least", Reason: "unreadable"})
	if got := r.count(`SELECT num_nulls(tenant_id, recorded_on, event_id, detail, subject, payload_sha256, payload_bytes, stream, stream_seq, batch_id) FROM event_runtime.quarantine WHERE dedup_key = 'least'`); got != 10 {
		t.Errorf("got %d columns without a value, want all 10 that are not known", got)
	}
}

// What is rolled back was never set aside, and a reason that is no word of ours
// is refused.
func TestInsertIsInTheTransaction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	changedMind := errors.New("changed mind")
	for name, e := range map[string]Entry{"rolled back": entry("a"), "no reason of ours": func() Entry { e := entry("b"); e.Reason = "Of " + cpf; return e }()} {
		err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
			if _, err := Insert(t.Context(), tx, e); err != nil {
				return err
			}
			return changedMind
		})
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.quarantine`); got != 0 {
		t.Errorf("got %d rows, want none", got)
	}
}

// The notice is the row, without anything that only the row needs, and is told
// once.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	known, unknown := entry("known"), Entry{Stage: Ingest, Consumer: transport.PCMOFB, Key: "unknown", Reason: "unreadable", Detail: "byte 0", Bytes: 9}
	r.insert(known, unknown)
	r.announce()
	r.announce()
	told := r.told()
	if len(told) != 2 || r.unannounced() != 0 {
		t.Fatalf("got %d notices and %d rows to tell of, want 2 and none", len(told), r.unannounced())
	}
	if got, want := told[0].Subject+" "+told[1].Subject, "dlq.pcm-ofb.acme-bank.schema_invalid dlq.pcm-ofb._.unreadable"; got != want {
		t.Errorf("got subjects %s, want %s", got, want)
	}
	var n Notice
	if err := json.Unmarshal(told[0].Data, &n); err != nil {
		t.Fatal(err)
	}
	if n.Stage != Ingest || n.Consumer != known.Consumer || n.TenantID != known.TenantID || *n.EventID != *known.EventID || n.Reason != known.Reason || n.Detail != known.Detail ||
		!bytes.Equal(n.SHA256, known.SHA256) || n.Bytes != known.Bytes || n.Stream != known.Stream || n.StreamSeq != int64(known.StreamSeq) || time.Since(n.CreatedAt) > time.Hour {
		t.Errorf("got %s, which is not the row", told[0].Data)
	}
	if got, want := told[0].Header.Get(jetstream.MsgIDHeader), fmt.Sprintf("quarantine-%d", n.ID); got != want {
		t.Errorf("got Nats-Msg-Id %s, want %s", got, want)
	}
	if strings.Contains(string(told[1].Data), "null") {
		t.Errorf("got %s, want what is not known left out", told[1].Data)
	}
}

// Hundreds of entries, and several who announce at once: each is told, none
// twice.
func TestAnnounceTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const entries = 250
	for n := range entries {
		r.insert(entry(fmt.Sprint(n)))
	}
	for r.unannounced() > 0 {
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if err := Announce(t.Context(), r.pool, r.js); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if t.Failed() {
			return
		}
	}
	if got := len(r.told()); got != entries {
		t.Errorf("got %d notices of %d entries", got, entries)
	}
}

// While the stream cannot be reached nobody is held up for long, and the row
// tells later.
func TestAnnounceLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, cut := range map[string]func() (mend func()){
		"the server is away": func() func() { r.nats.Stop(); return r.nats.Start },
		"the stream is gone": func() func() {
			if err := r.js.DeleteStream(t.Context(), transport.DLQ); err != nil {
				t.Fatal(err)
			}
			return func() {
				if _, err := r.js.CreateStream(t.Context(), transport.Streams(transport.Limits{DLQBytes: 16 << 20})[2]); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.insert(entry(name))
			mend := cut()
			if err := Announce(t.Context(), r.pool, r.js); err == nil {
				t.Error("got no error, with nobody there to tell")
			}
			if r.unannounced() != 1 {
				t.Error("the row says that it was told")
			}
			mend()
			for r.unannounced() > 0 && t.Context().Err() == nil { // until the client has noticed
				_ = Announce(t.Context(), r.pool, r.js)
			}
			told := r.told()
			if len(told) == 0 || !strings.Contains(string(told[len(told)-1].Data), `"schema_invalid"`) {
				t.Errorf("got %d notices, want it told", len(told))
			}
		})
	}
}

// Whatever a caller puts into a field: personal data and what steers a terminal
// reach neither the row nor the notice.
func TestNoValueIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := entry("k")
	e.Detail, e.Subject = "at "+email+" is "+cpf+"\r\n\x1b[2J", "interactions.52998224725.ofb\r\nEvil: 1"
	tenant := entry("t")
	tenant.TenantID = "52998224725" // a slug by its form
	r.insert(e, tenant)
	r.announce()
	var sinks strings.Builder
	var columns string
	if err := r.pool.QueryRow(t.Context(), `SELECT detail || ' ' || subject FROM event_runtime.quarantine WHERE dedup_key = 'k'`).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	sinks.WriteString(columns)
	for _, notice := range r.told() {
		fmt.Fprint(&sinks, notice.Subject, notice.Header, string(notice.Data))
	}
	for _, planted := range []string{cpf, "52998224725", email, "\r", "\n", "\x1b", `\u001b`} {
		if strings.Contains(sinks.String(), planted) {
			t.Errorf("got %q in %s", planted, sinks.String())
		}
	}
	if !strings.Contains(columns, "at [redacted:email] is [redacted:cpf]") || !strings.Contains(columns, "interactions.[redacted:cpf].ofb") {
		t.Errorf("got %q, want what is no value kept", columns)
	}
}
