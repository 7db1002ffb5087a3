package intake

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
)

// created wants a batch that was taken now.
func (r *rig) created(c call) reply {
	r.t.Helper()
	got := r.do(c)
	if got.status != http.StatusCreated || len(got.ids) == 0 || got.header.Get("Idempotency-Replayed") != "false" {
		r.t.Errorf("got %d %s, replayed %q", got.status, got.body, got.header.Get("Idempotency-Replayed"))
	}
	return got
}

// replayed wants what was answered before.
func (r *rig) replayed(c call, before reply) {
	r.t.Helper()
	if got := r.do(c); got.status != before.status || got.body != before.body || got.header.Get("Idempotency-Replayed") != "true" {
		r.t.Errorf("got %d %s, replayed %q, want %s", got.status, got.body, got.header.Get("Idempotency-Replayed"), before.body)
	}
}

func (r *rig) refused(c call, status int, code string) {
	r.t.Helper()
	if got := r.do(c); got.status != status || got.code() != code {
		r.t.Errorf("got %d %s, want %d %s", got.status, got.code(), status, code)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.created(good("k"))
	r.replayed(good("k"), first)
	r.replayed(good("k"), first)
	r.want(2, 1)
	r.refused(good("k").with(body(batch(plain))), 422, "other_body")
	r.refused(good("k").with(body(batch(plain, plain)+" ")), 422, "other_body")
	r.want(2, 1)
	theirs := r.created(good("k").with(func(c *call) { c.token = betaToken }))
	other := r.created(good("K"))
	if slices.Equal(first.ids, theirs.ids) || slices.Equal(first.ids, other.ids) {
		t.Error("got the same ids for another tenant or another key")
	}
	r.want(6, 3)
	if got := r.count(`SELECT count(*) FROM event_runtime.idempotency_keys WHERE expires_at BETWEEN now() + interval '23 hours 59 minutes' AND now() + interval '24 hours'`); got != 3 {
		t.Errorf("got %d keys kept for 24 hours, want 3", got)
	}
	if got := r.count(`SELECT count(*) FROM unnest($1::uuid[]) i(id) JOIN event_runtime.outbox o ON o.event_id = i.id`, first.ids); got != 2 {
		t.Errorf("got %d of the answer's ids in the outbox, want 2", got)
	}
}

// A key is free again after a day, and whoever comes next takes old ones away.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.created(good("k"))
	r.created(good("old"))
	r.Exec(`UPDATE event_runtime.idempotency_keys SET expires_at = now() - interval '1 second'`)
	second := r.created(good("k").with(body(batch(plain))))
	if slices.Contains(second.ids, first.ids[0]) {
		t.Error("the old answer came back")
	}
	r.want(5, 1)
	r.replayed(good("k").with(body(batch(plain))), second)
}

const sqlHoldAnother = `SELECT verdict FROM event_runtime.hold_key('acme-bank', '/v1/events', $1, sha256(''))`

// While somebody works on a key others are told so at once; when he is gone
// without a commit the key is free.
func TestAKeyThatIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn := r.Conn("runtime_producer")
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256([]byte("k"))
	var verdict string
	if err := tx.QueryRow(t.Context(), sqlHoldAnother, key[:]).Scan(&verdict); err != nil || verdict != "new" {
		t.Fatalf("got %q, %v", verdict, err)
	}
	got := r.do(good("k"))
	if got.status != 409 || got.code() != "running" || got.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", got.status, got.code())
	}
	r.created(good("another"))
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.created(good("k"))
	r.want(4, 2)
}

// However many come at once with a key, it is one batch, and each is told its
// ids or to ask again.
func TestTheSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all sync.WaitGroup
	got := make([]reply, 24)
	for n := range got {
		all.Go(func() {
			for got[n] = r.do(good("k")); got[n].status == http.StatusConflict; got[n] = r.do(good("k")) {
			}
		})
	}
	all.Wait()
	made := 0
	for _, a := range got {
		if a.status != http.StatusCreated || a.body != got[0].body {
			t.Errorf("got %d %s, want %s", a.status, a.body, got[0].body)
		}
		if a.header.Get("Idempotency-Replayed") == "false" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d requests appended, want one", made)
	}
	r.want(2, 1)
}

const (
	commitSent     = int64(len("Q....commit."))
	commitAnswered = int64(len("C....COMMIT." + "Z....I"))
)

// The commit was lost, and it was lost but it happened: repeating ends in one
// batch in both worlds, and in the second one with the ids of the first.
func TestTheCommitIsLost(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rule   func(up, down int64) testenv.Rule
		stored bool
	}{
		"it never arrived": {func(up, _ int64) testenv.Rule {
			return testenv.Rule{Up: testenv.Fault{After: up - commitSent, Then: testenv.Reset, Await: true}}
		}, false},
		"it happened, and the answer never came": {func(_, down int64) testenv.Rule {
			return testenv.Rule{Down: testenv.Fault{After: down - commitAnswered, Then: testenv.Reset, Await: true}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, proxied)
			r.created(good("0")) // the first connection shows how many bytes a request takes
			first := <-r.proxy.Accepted()
			r.proxy.Next(tc.rule(first.Passed(testenv.Up), first.Passed(testenv.Down)))
			first.Reset()
			<-first.Closed()
			r.pool.Reset()
			got := r.do(good("1"))
			if got.status != 503 || got.code() != "unavailable" || got.header.Get("Retry-After") == "" {
				t.Errorf("got %d %s", got.status, got.body)
			}
			<-(<-r.proxy.Accepted()).Faulted()
			again := r.eventually(good("1"))
			if again.status != 201 || (again.header.Get("Idempotency-Replayed") == "true") != tc.stored {
				t.Errorf("got %d %s, replayed %q, want it replayed: %v", again.status, again.body, again.header.Get("Idempotency-Replayed"), tc.stored)
			}
			r.want(4, 2)
			if got := r.count(`SELECT count(*) FROM event_runtime.outbox WHERE event_id = any ($1::uuid[])`, again.ids); got != 2 {
				t.Errorf("%d of the answer's ids are in the outbox", got)
			}
		})
	}
}

// eventually repeats as the answers say: the session of a connection that was
// cut may hold its key for a moment.
func (r *rig) eventually(c call) reply {
	for {
		if got := r.do(c); got.status != http.StatusConflict {
			return got
		}
	}
}

// The answer is lost between us and the producer.
func TestTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	address, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testenv.Proxy(t, address.Host)
	address.Host = proxy.Addr()
	proxy.Next(testenv.Rule{Down: testenv.Fault{Then: testenv.Reset, Await: true}})
	if got, err := r.try(address.String(), good("k")); err == nil {
		t.Fatalf("got %d %s, want the answer lost", got.status, got.body)
	}
	r.want(2, 1)
	again, err := r.try(address.String(), good("k"))
	if err != nil || again.status != 201 || again.header.Get("Idempotency-Replayed") != "true" || len(again.ids) != 2 {
		t.Errorf("got %d %s, %v", again.status, again.body, err)
	}
	if got := r.count(`SELECT count(*) FROM event_runtime.outbox WHERE event_id = any ($1::uuid[])`, again.ids); got != 2 {
		t.Errorf("%d of the answer's ids are in the outbox", got)
	}
	r.want(2, 1)
}

// No place and no database are both told as 503, and the batch is whole later.
func TestNoPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(_ *rig, c *Config) { c.Parallel, c.Timeout = 1, 200*time.Millisecond })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.request(t.Context(), r.url, good("k")).URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	// One that stops in the middle of its body holds the only place.
	if _, err := conn.Write([]byte("POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + acmeToken + "\r\nContent-Type: application/json\r\nIdempotency-Key: slow\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // "100 Continue": its body is being read
		t.Fatal(err)
	}
	r.refused(good("k"), 503, "busy")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for got := r.do(good("k")); got.status != 201; got = r.do(good("k")) {
		if got.code() != "busy" {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	r.want(2, 1)
}

func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct{ gone, back func(*testenv.FaultProxy) }{
		"it refuses":   {(*testenv.FaultProxy).Refuse, (*testenv.FaultProxy).Accept},
		"it is silent": {(*testenv.FaultProxy).Pause, (*testenv.FaultProxy).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, proxied, func(_ *rig, c *Config) { c.Timeout = time.Second })
			way.gone(r.proxy)
			r.refused(good("k"), 503, "unavailable")
			if log := r.log.String(); !strings.Contains(log, "intake.failed") {
				t.Errorf("nobody was told: %s", log)
			}
			way.back(r.proxy)
			if got := r.eventually(good("k")); got.status != 201 {
				t.Errorf("got %d %s", got.status, got.body)
			}
			r.want(2, 1)
		})
	}
}

// A batch over HTTP is the rows that outbox.Append makes of it: all columns, and
// the hash that a consumer compares.
func TestTheRowsAreThoseOfAppend(t *testing.T) {
	t.Parallel()
	posted, appended := newRig(t), testenv.Postgres(t)
	id, version := event.NewID(time.Now()).String(), int64(3)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	full := `{"event_id":"` + id + `","tenant_id":"acme-bank","ecosystem":"ofb","event_type":"proposal.made","version":1,"occurred_at":"2026-01-02T00:04:05.678901-03:00","aggregate_type":"consent","aggregate_id":"urn:1",` +
		`"aggregate_version":3,"idempotency_key":"k-1","correlation_id":"c-1","traceparent":"` + trace + `","source":"consent-api","subject":{"profile_id":"p-1"},"payload":{"state":"B","previousState":"A","amount":199.990,"big":1.0e2}}`
	same := outbox.Event{ID: id, TenantID: "acme-bank", Ecosystem: "ofb", Type: "proposal.made", Version: 1, OccurredAt: at, AggregateType: "consent", AggregateID: "urn:1", AggregateVersion: &version,
		IdempotencyKey: "k-1", CorrelationID: "c-1", Traceparent: trace, Source: "consent-api", Subject: map[string]string{"profile_id": "p-1"}, Payload: []byte(`{"state":"B","previousState":"A","amount":199.990,"big":1.0e2}`)}
	if got := posted.created(good("k").with(body(batch(full)))); !slices.Equal(got.ids, []string{id}) {
		t.Errorf("got ids %v, want %s", got.ids, id)
	}
	err := pgx.BeginFunc(t.Context(), appended.Pool("runtime_producer"), func(tx pgx.Tx) error {
		_, err := outbox.Append(t.Context(), tx, same)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	one, oneHash := row(t, posted.DB)
	two, twoHash := row(t, appended)
	if one != two || oneHash != twoHash {
		t.Errorf("got  %s %x\nwant %s %x", one, oneHash, two, twoHash)
	}
}

// row is the only event of a database, and its hash.
func row(t *testing.T, db *testenv.DB) (text string, hash [32]byte) {
	t.Helper()
	err := db.Conn("runtime_worker").QueryRow(context.WithoutCancel(t.Context()), `SELECT (to_jsonb(o) - 'recorded_at')::text FROM event_runtime.outbox o`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode([]byte(`{"record":` + text + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return text, e.Hash()
}
