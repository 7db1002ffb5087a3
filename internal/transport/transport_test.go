package transport

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/nats-io/nats.go/jetstream"
)

// An event reaches exactly the durables of those who are owed it, by the subject
// that a producer publishes.
func TestEntitlementsAreWhatTheDurablesHear(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.provision(time.Now())
	want := map[string]uint64{}
	families := []string{"interaction", "consent", "payment", "portability", "enrollment", "quote", "contract", "service", "interaction-x"}
	for _, ecosystem := range []string{event.OFB, event.OPIN, event.Platform} {
		for _, family := range families {
			subject := event.Subject("acme-bank", ecosystem, family+".changed.more")
			if _, err := r.js.Publish(t.Context(), subject, []byte("{}")); err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
			for _, e := range Entitlements() {
				if e.Ecosystem == ecosystem && e.Family == family {
					want[e.Stream()+" "+e.Consumer]++
				}
			}
		}
	}
	for _, d := range Durables(1) {
		name := d.Stream + " " + d.Config.Durable
		if got := r.consumer(d.Stream, d.Config.Durable).NumPending; got != want[name] || got == 0 {
			t.Errorf("%s: got %d messages, want %d", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is owed events, and no durable hears them", name)
	}
}

// All events of a tenant are in one partition, which a reader can tell from the
// subject.
func TestATenantHasOnePartition(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.provision(time.Now())
	stream, err := r.js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]map[string]bool{}
	for _, tenant := range []string{"acme-bank", "globex", "idle-bank", "a", "z-9"} {
		of[tenant] = map[string]bool{}
		for _, eventType := range []string{"consent.advanced", "payment.settled", "quote"} {
			ack, err := r.js.Publish(t.Context(), event.Subject(tenant, event.OFB, eventType), nil)
			if err != nil {
				t.Fatal(err)
			}
			msg, err := stream.GetMsg(t.Context(), ack.Sequence)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := event.ParseSubject(msg.Subject)
			if want := (event.Address{Tenant: tenant, Ecosystem: event.OFB, Type: eventType}); !ok || got != want {
				t.Errorf("%s: got %v, %v, want %v", msg.Subject, got, ok, want)
			}
			of[tenant][strings.Split(msg.Subject, ".")[1]] = true
		}
	}
	different := map[string]bool{}
	for tenant, partitions := range of {
		if len(partitions) != 1 {
			t.Errorf("%s: got partitions %v, want one", tenant, partitions)
		}
		for p := range partitions {
			different[p] = true
		}
	}
	if len(different) < 2 {
		t.Errorf("got partitions %v, want tenants spread", different)
	}
}

// A full stream tells its publisher; the dead letters make room instead, because
// their rows are kept.
func TestAFullStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	limits := Limits{Replicas: 1, InteractionsBytes: 64 << 10, EventsBytes: 64 << 10, DLQBytes: 64 << 10}
	if err := Provision(t.Context(), r.js, r.pool, limits, time.Now()); err != nil {
		t.Fatal(err)
	}
	for subject, full := range map[string]bool{"interactions.acme-bank.ofb": true, "events.acme-bank.ofb.consent.advanced": true, DLQSubject(PCMOFB, "acme-bank", "unreadable"): false} {
		var err error
		for n := 0; n < 40 && err == nil; n++ {
			_, err = r.js.Publish(t.Context(), subject, make([]byte, 4<<10))
		}
		if (err != nil) != full {
			t.Errorf("%s: got %v, want an error: %v", subject, err, full)
		}
	}
	if _, err := r.js.Publish(t.Context(), "dlq.x.y.z", make([]byte, maxMsgSize+1)); err == nil {
		t.Error("got a message beyond the limit stored")
	}
}

func TestDLQSubject(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"dlq.pcm-ofb.acme-bank.unreadable": DLQSubject(PCMOFB, "acme-bank", "unreadable"),
		"dlq.pcm-ofb._.unreadable":         DLQSubject(PCMOFB, "", "unreadable"),
		"dlq.relay._.too_large":            DLQSubject("relay", "a.b>", "too_large"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDurablesAreMadeOfEntitlements(t *testing.T) {
	t.Parallel()
	filters := map[string][]string{}
	for _, d := range Durables(3) {
		if d.Config.Replicas != 3 || d.Config.AckPolicy != jetstream.AckExplicitPolicy || d.Config.MaxDeliver != -1 || len(d.Config.BackOff) > 0 {
			t.Errorf("%s on %s: got %+v, want explicit acks without end", d.Config.Durable, d.Stream, d.Config)
		}
		filters[d.Stream+" "+d.Config.Durable] = d.Config.FilterSubjects
	}
	for _, e := range Entitlements() {
		if !slices.Contains(filters[e.Stream()+" "+e.Consumer], e.Filter()) {
			t.Errorf("%+v: no durable has %s", e, e.Filter())
		}
	}
}

// What cannot be sent now is an error now.
func TestConnect(t *testing.T) {
	t.Parallel()
	server := testenv.NATS(t)
	nc, js, err := Connect(Config{URL: server.URL()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Errorf("got %v, want an answer", err)
	}
	gone := nc.StatusChanged()
	server.Stop()
	for nc.IsConnected() {
		<-gone
	}
	if err := nc.Publish("interactions.acme-bank.ofb", nil); err == nil {
		t.Error("got no error from a connection that is away")
	}
	server.Start()
	for !nc.IsConnected() {
		<-gone
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Errorf("got %v from the server that is back, want an answer", err)
	}
}

func TestConnectNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "worker.creds")
	for name, cfg := range map[string]Config{
		"no such file": {URL: "nats://127.0.0.1:4222", CredentialsFile: missing},
		"no address":   {URL: "nats://%zz"},
	} {
		nc, _, err := Connect(cfg, "test")
		if err == nil {
			nc.Close()
			t.Errorf("%s: got no error", name)
			continue
		}
		if !strings.HasPrefix(err.Error(), "connect to nats: ") {
			t.Errorf("%s: got %v, want it to say what failed", name, err)
		}
	}
}
