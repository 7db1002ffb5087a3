package sweep

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/relay"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Beside a relay that works, nothing is swept; and a message of the sweeper is
// the relay's in all that consumers rely upon.
func TestTheMessageIsTheRelays(t *testing.T) {
	t.Parallel()
	cluster := testenv.Cluster(t)
	if _, err := migrations.EnsureSlot(t.Context(), cluster.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, cluster)
	stop := r.relay(cluster.URL("runtime_relay"))
	ids := r.append(acme, 3)
	r.eventually("the relay has published", func() bool { return r.messages() == 6 })
	for _, name := range []string{transport.Interactions, transport.Events} {
		r.wantSame(name)
	}
	r.consume()
	r.arrived(6)
	for _, ahead := range []time.Duration{2 * time.Minute, time.Hour} {
		r.pass(ahead).want("published", r.messages(), 6)
	}
	stop()
	lost := r.append(acme, 1)
	r.db.Exec(`SELECT pg_drop_replication_slot('` + migrations.Slot + `')`)
	r.rewind()
	r.put(ids...) // at once: known by their ids to the stream
	r.pass(2*time.Hour).want("published", r.messages(), 6+len(lost))
	r.arrived(8)
	r.whole()
}

func (r *rig) relay(url string) (stop func()) {
	r.t.Helper()
	nc, _, err := transport.Connect(transport.Config{URL: r.nats.URL()}, "relay")
	if err != nil {
		r.t.Fatal(err)
	}
	works, err := relay.New(relay.Config{DatabaseURL: url, Window: 64, WindowBytes: 1 << 20, AckTimeout: 5 * time.Second, DrainFor: 5 * time.Second}, nc, zerolog.Nop())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- works.Run(ctx); close(ended) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("relay: %v", err)
		}
		nc.Close()
	}
	r.t.Cleanup(stop)
	return stop
}

// wantSame holds what the relay has put into a stream against what the sweeper
// would.
func (r *rig) wantSame(name string) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	n := stream.CachedInfo().State.LastSeq
	if n == 0 {
		r.t.Errorf("%s is empty", name)
	}
	for seq := uint64(1); seq <= n; seq++ {
		theirs, err := stream.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		id, err := event.ParseID(theirs.Header.Get(jetstream.MsgIDHeader))
		if err != nil {
			r.t.Fatal(err)
		}
		rows, err := r.sweeper.rows(r.t.Context(), []Key{{acme, id.Day(), id}})
		if err != nil || len(rows) != 1 {
			r.t.Fatalf("got %d rows, %v", len(rows), err)
		}
		ours := r.sweeper.encoder.message(rows[0])
		if event.Subject(acme, "ofb", *rows[0].printed[4]) != ours.Subject || streamOf(rows[0]) != name {
			r.t.Errorf("got subject %s in %s", ours.Subject, streamOf(rows[0]))
		}
		for _, added := range []string{jetstream.ExpectedStreamHeader, jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.SubjectHeader, jetstream.TimeStampHeaer} {
			theirs.Header.Del(added) // on the way into the stream and out of it
		}
		if !reflect.DeepEqual(ours.Header, theirs.Header) {
			r.t.Errorf("got headers %v, want %v", ours.Header, theirs.Header)
		}
		got, want := decode(r.t, ours.Data), decode(r.t, theirs.Data)
		if !reflect.DeepEqual(got["record"], want["record"]) || !reflect.DeepEqual(got["action"], want["action"]) {
			r.t.Errorf("got %v, want %v", got, want)
		}
		keys := func(m map[string]any) any { return m["metadata"].(map[string]any)["record_pks"] }
		if !reflect.DeepEqual(keys(got), keys(want)) {
			r.t.Errorf("got keys %v, want %v", keys(got), keys(want))
		}
	}
}

func decode(t *testing.T, body []byte) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if _, err := event.Decode(body); err != nil {
		t.Error(err)
	}
	return m
}
