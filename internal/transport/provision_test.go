package transport

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

var small = Limits{Replicas: 1, InteractionsBytes: 64 << 20, EventsBytes: 64 << 20, DLQBytes: 16 << 20}

// rig is a server without streams, and a database without entitlements.
type rig struct {
	t    *testing.T
	js   jetstream.JetStream
	pool *pgxpool.Pool
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{t: t, js: testenv.NATS(t).JetStream(), pool: testenv.Postgres(t).Pool("runtime_worker")}
}

func (r *rig) provision(now time.Time) {
	r.t.Helper()
	if err := Provision(r.t.Context(), r.js, r.pool, small, now); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) drift(l Limits) []string {
	r.t.Helper()
	found, err := Drift(r.t.Context(), r.js, l)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func (r *rig) stream(name string) *jetstream.StreamInfo {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo()
}

func (r *rig) consumer(stream, name string) *jetstream.ConsumerInfo {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), stream, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.CachedInfo()
}

// entitled reads the entitlements, each with its since.
func (r *rig) entitled() map[Entitlement]event.ID {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `SELECT consumer, ecosystem, family, since FROM event_runtime.entitlements`)
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[Entitlement]event.ID{}
	for rows.Next() {
		var e Entitlement
		var since event.ID
		if err := rows.Scan(&e.Consumer, &e.Ecosystem, &e.Family, &since); err != nil {
			r.t.Fatal(err)
		}
		all[e] = since
	}
	if rows.Err() != nil {
		r.t.Fatal(rows.Err())
	}
	return all
}

// Provisioning again, also later, changes nothing: neither what runs nor since
// when events are owed.
func TestProvisionTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := time.Now().Add(-time.Hour)
	r.provision(first)
	before := r.entitled()
	made := map[string]time.Time{}
	for _, s := range Streams(small) {
		made[s.Name] = r.stream(s.Name).Created
	}
	for _, d := range Durables(1) {
		made[d.Stream+d.Config.Durable] = r.consumer(d.Stream, d.Config.Durable).Created
	}
	if len(before) != len(Entitlements()) {
		t.Errorf("got %d entitlements, want %d", len(before), len(Entitlements()))
	}
	for e, since := range before {
		earlier, same := event.NewID(first.Add(-time.Millisecond)).String(), event.NewID(first).String()
		if since.String() <= earlier || since.String() > same || !since.IsV7() {
			t.Errorf("%v: got since %v, want the first id of %v", e, since, first)
		}
	}
	r.provision(time.Now())
	for e, since := range r.entitled() {
		if since != before[e] {
			t.Errorf("%v: got since %v, want %v as at first", e, since, before[e])
		}
	}
	for _, s := range Streams(small) {
		if got := r.stream(s.Name).Created; !got.Equal(made[s.Name]) {
			t.Errorf("stream %s: made anew at %v", s.Name, got)
		}
	}
	for _, d := range Durables(1) {
		if got := r.consumer(d.Stream, d.Config.Durable).Created; !got.Equal(made[d.Stream+d.Config.Durable]) {
			t.Errorf("consumer of %s: made anew at %v", d.Stream, got)
		}
	}
	if found := r.drift(small); len(found) != 0 {
		t.Errorf("got %v of what was just made, want nothing", found)
	}
}

// What somebody removed is named, and made again when asked.
func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if got, want := len(r.drift(small)), len(Streams(small))+len(Durables(1)); got != want {
		t.Errorf("got %d findings on an empty server, want %d", got, want)
	}
	r.provision(time.Now())
	since := r.entitled()
	if err := r.js.DeleteStream(t.Context(), Events); err != nil {
		t.Fatal(err)
	}
	if err := r.js.DeleteConsumer(t.Context(), Interactions, PCMOFB); err != nil {
		t.Fatal(err)
	}
	want := []string{"stream EVENTS is missing", "consumer pcm-ofb on INTERACTIONS is missing", "consumer pcm-ofb on EVENTS is missing"}
	if got := r.drift(small); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	r.provision(time.Now())
	if got := r.drift(small); len(got) != 0 {
		t.Errorf("got %v after it was made again, want nothing", got)
	}
	for e, at := range r.entitled() {
		if at != since[e] {
			t.Errorf("%v: got since %v, want %v: its events were owed all the time", e, at, since[e])
		}
	}
}

// Each setting of a stream that was changed behind our back is named, and left
// as it is.
func TestStreamDrift(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	type change = func(*jetstream.StreamConfig)
	for setting, weaken := range map[string]change{
		"subjects":        func(c *jetstream.StreamConfig) { c.Subjects = []string{"interactions.*.ofb"} },
		"storage":         func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention":       func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"max_age":         func(c *jetstream.StreamConfig) { c.MaxAge = 71 * time.Hour },
		"max_bytes":       func(c *jetstream.StreamConfig) { c.MaxBytes-- },
		"max_msg_size":    func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1024 },
		"discard":         func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"duplicates":      func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
		"allow_direct":    func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"deny_delete":     func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":      func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"persist_mode":    func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"no_ack":          func(c *jetstream.StreamConfig) { c.NoAck = true },
		"max_msgs":        func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "interactions.*.ofb", Destination: "interactions.{{wildcard(1)}}.elsewhere"}
		},
	} {
		t.Run(setting, func(t *testing.T) {
			cfg := Streams(small)[0]
			weaken(&cfg)
			if _, err := r.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.js.DeleteStream(t.Context(), Interactions) }()
			r.provision(time.Now())
			if got, want := r.drift(small), []string{"stream INTERACTIONS: " + setting}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if again := settings(map[string]bool{setting: true}); !slices.Equal(streamDrift(Streams(small)[0], r.stream(Interactions).Config), again) {
				t.Errorf("somebody mended it")
			}
		})
	}
	t.Run("sealed", func(t *testing.T) {
		r.provision(time.Now())
		cfg := r.stream(DLQ).Config
		cfg.Sealed = true
		if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.drift(small), " "); !strings.Contains(got, "stream DLQ: sealed") {
			t.Errorf("got %q, want it to name sealed", got)
		}
		_ = r.js.DeleteStream(t.Context(), DLQ)
	})
	t.Run("replicas", func(t *testing.T) {
		r.provision(time.Now())
		wanted := small
		wanted.Replicas = 3
		got := r.drift(wanted)
		if len(got) != len(Streams(small))+len(Durables(1)) || !strings.HasSuffix(got[0], ": replicas") || !strings.HasSuffix(got[len(got)-1], ": replicas") {
			t.Errorf("got %v, want replicas of all", got)
		}
	})
}

func TestConsumerDrift(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.provision(time.Now())
	for setting, weaken := range map[string]func(*jetstream.ConsumerConfig){
		"filter_subjects": func(c *jetstream.ConsumerConfig) { c.FilterSubjects = []string{"interactions.acme.ofb"} },
		"ack_policy": func(c *jetstream.ConsumerConfig) {
			c.AckPolicy, c.AckWait, c.MaxAckPending = jetstream.AckAllPolicy, ackWait, MaxAckPending
		},
		"ack_wait":        func(c *jetstream.ConsumerConfig) { c.AckWait = time.Second },
		"max_ack_pending": func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 100000 },
		"max_deliver":     func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
		"memory_storage":  func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true },
		"paused": func(c *jetstream.ConsumerConfig) {
			until := time.Now().Add(time.Hour)
			c.PauseUntil = &until
		},
	} {
		t.Run(setting, func(t *testing.T) { r.wantDrift(t, weaken, setting) })
	}
	t.Run("backoff", func(t *testing.T) { // it needs a limit of deliveries, and moves AckWait
		r.wantDrift(t, func(c *jetstream.ConsumerConfig) {
			c.MaxDeliver, c.BackOff = 5, []time.Duration{time.Second, time.Minute}
		}, "ack_wait", "backoff", "max_deliver")
	})
}

// wantDrift makes the durable consumer of INTERACTIONS with a change, and holds
// what is found against the settings.
func (r *rig) wantDrift(t *testing.T, weaken func(*jetstream.ConsumerConfig), names ...string) {
	t.Helper()
	if err := r.js.DeleteConsumer(t.Context(), Interactions, PCMOFB); err != nil {
		t.Fatal(err)
	}
	cfg := Durables(1)[0].Config
	weaken(&cfg)
	if _, err := r.js.CreateConsumer(t.Context(), Interactions, cfg); err != nil {
		t.Fatal(err)
	}
	r.provision(time.Now())
	var want []string
	for _, name := range names {
		want = append(want, "consumer pcm-ofb on INTERACTIONS: "+name)
	}
	if got := r.drift(small); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What promises more than ours is the operator's choice.
func TestMoreIsNoDrift(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, more := range map[string]func(*jetstream.StreamConfig){
		"kept for ever":      func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
		"kept for longer":    func(c *jetstream.StreamConfig) { c.MaxAge = 30 * 24 * time.Hour },
		"without a limit":    func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"larger messages":    func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 },
		"a longer window":    func(c *jetstream.StreamConfig) { c.Duplicates = 10 * time.Minute },
		"atomic batches":     func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true },
		"another's metadata": func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"team": "platform"} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Streams(small)[0]
			more(&cfg)
			if _, err := r.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.js.DeleteStream(t.Context(), Interactions) }()
			r.provision(time.Now())
			if got := r.drift(small); len(got) != 0 {
				t.Errorf("got %v, want nothing", got)
			}
		})
	}
}

// A server that cannot do what is asked is an error that names what.
func TestProvisionNamesWhatCannotBeHad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wanted := small
	wanted.Replicas = 3
	err := Provision(t.Context(), r.js, r.pool, wanted, time.Now())
	if err == nil || !strings.HasPrefix(err.Error(), "stream INTERACTIONS: ") {
		t.Errorf("got %v, want an error that names the stream", err)
	}
	if got := r.entitled(); len(got) != 0 {
		t.Errorf("got %v, want nothing owed by consumers that do not exist", got)
	}
}
