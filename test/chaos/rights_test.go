package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const sequinPassword = "not-much-of-a-secret"

// guarded starts a nats-server with the file that `event-runtime nats config`
// prints, lets `event-runtime nats provision` make what is missing, and tells each
// process who it is.
func (r *rig) guarded() {
	r.t.Helper()
	keys := filepath.Join(r.dir, "keys")
	r.cluster = testenv.NATSNodes(r.t, 1, func(n *testenv.NATSNode) string {
		p := testenv.Start(r.t, testenv.Binary(r.t), []string{"nats", "config", "--keys", keys, "--name", n.Name, "--listen", n.Listen(), "--monitor", "127.0.0.1:-1",
			"--store", n.StoreDir, "--max-bytes", "2147483648", "--sequin"}, nil)
		p.ExitedWith(0)
		r.wantNoSecret(keys, p.Log())
		return p.Log()
	}, transport.SequinPassword+"="+sequinPassword)
	as := func(role, prefix string) []string {
		return []string{prefix + "CREDENTIALS=file:" + transport.SeedFile(keys, role), prefix + "INBOX_PREFIX=" + transport.InboxOf(role)}
	}
	r.who = map[string][]string{
		"relay":          as(transport.RoleRelay, "NATS_"),
		"serve":          append(append(as(transport.RoleWorker, "NATS_"), as(transport.RoleSweeper, "NATS_SWEEPER_")...), "NATS_PROVISION=false"),
		"nats provision": as(transport.RoleProvisioning, "NATS_"),
	}
	r.start("nats provision", []string{"DATABASE_URL=" + r.db.URL("runtime_worker"), "NATS_URL=" + r.broker(), "NATS_STREAM_INTERACTIONS_MAX_BYTES=268435456",
		"NATS_STREAM_EVENTS_MAX_BYTES=268435456", "NATS_STREAM_DLQ_MAX_BYTES=67108864"}).ExitedWith(0)
	r.js = r.enter(transport.RoleWorker).js
}

// wantNoSecret: what is printed may be read by anybody.
func (r *rig) wantNoSecret(keys, text string) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(keys, "*.nk"))
	if err != nil || len(files) != len(transport.Roles())-1 {
		r.t.Fatalf("got seeds %v, %v, want one for each role but sequin", files, err)
	}
	for _, path := range files {
		seed, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err := errors.Join(err, statErr); err != nil {
			r.t.Fatal(err)
		}
		if len(seed) < 50 || strings.Contains(text, strings.TrimSpace(string(seed))) || info.Mode().Perm() != 0o600 {
			r.t.Errorf("%s: mode %v, or its seed is printed", path, info.Mode())
		}
	}
	if strings.Contains(text, sequinPassword) {
		r.t.Error("a password is printed")
	}
}

// A visitor is connected as a role, and hears what it is refused.
type visitor struct {
	t       *testing.T
	nc      *nats.Conn
	js      jetstream.JetStream
	refused chan error
}

func (r *rig) enter(role string) *visitor {
	r.t.Helper()
	cfg := transport.Config{URL: r.broker(), Credentials: "file:" + transport.SeedFile(filepath.Join(r.dir, "keys"), role), InboxPrefix: transport.InboxOf(role)}
	return r.visit(func(o nats.Option) (*nats.Conn, error) {
		nc, _, err := transport.Connect(cfg, role, o)
		return nc, err
	})
}

func (r *rig) visit(connect func(nats.Option) (*nats.Conn, error)) *visitor {
	r.t.Helper()
	v := &visitor{t: r.t, refused: make(chan error, 16)}
	nc, err := connect(nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case v.refused <- err:
		default:
		}
	}))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	if v.js, err = jetstream.New(nc); err != nil {
		r.t.Fatal(err)
	}
	v.nc = nc
	return v
}

// mayNot holds that the server refuses something to a visitor: nothing answers,
// and the refusal is told.
func (v *visitor) mayNot(what string, do func(ctx context.Context) error) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-v.refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			v.t.Errorf("%s: got %v, want it not permitted", what, err)
		}
		cancel()
		if err := <-done; err != nil {
			v.t.Logf("%s: %v", what, err)
		}
	case err := <-done:
		if err == nil { // a publish without an answer, or a subscription: the refusal comes behind it
			select {
			case err = <-v.refused:
			case <-ctx.Done():
			}
		}
		if !errors.Is(err, nats.ErrPermissionViolation) {
			v.t.Errorf("%s: got %v, want it not permitted", what, err)
		}
	}
}

// Bad input, group 23: with the configuration that we print, everything works that
// must, and each identity can do nothing else.
func TestGroup23RightsInNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t, withAccounts, withEnv(sweeping...))
	relay := r.relay()
	r.serve()
	r.wave(30)
	r.quiescent()
	relay.Signal(terminate)
	relay.ExitedWith(0)
	r.loseSlot() // what comes now, the sweeper alone can publish
	r.wave(10)
	r.quiescent()
	if r.swept() == 0 {
		t.Error("got nothing swept, want what no relay has brought")
	}
	r.oracle()
	stored := r.inStreams()
	r.wantNoForgery()
	if _, err := nats.Connect(r.broker()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("got %v for somebody without a name, want nobody let in", err)
	}
	if got := r.inStreams(); got != stored {
		t.Errorf("got %d messages, want %d: somebody could change them", got, stored)
	}
}

func (r *rig) wantNoForgery() {
	r.t.Helper()
	worker, relay := r.enter(transport.RoleWorker), r.enter(transport.RoleRelay)
	sequin := r.visit(func(o nats.Option) (*nats.Conn, error) {
		return nats.Connect(r.broker(), o, nats.UserInfo(transport.RoleSequin, sequinPassword))
	})
	deny := func(v *visitor, who string, acts map[string]func(ctx context.Context, js jetstream.JetStream) error) {
		for what, do := range acts {
			v.mayNot(who+": "+what, func(ctx context.Context) error { return do(ctx, v.js) })
		}
	}
	reshape := map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"purge": func(ctx context.Context, js jetstream.JetStream) error { return ask(ctx, js, "STREAM.PURGE", "{}") },
		"delete a message": func(ctx context.Context, js jetstream.JetStream) error {
			return ask(ctx, js, "STREAM.MSG.DELETE", `{"seq":1}`)
		},
		"delete a stream": func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, transport.Interactions)
		},
		"update a stream": func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.UpdateStream(ctx, transport.Streams(r.limits)[0])
			return err
		},
		"delete a consumer": func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteConsumer(ctx, transport.Interactions, transport.PCMOFB)
		},
		"make a consumer": func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.CreateConsumer(ctx, transport.Interactions, jetstream.ConsumerConfig{Name: "other"})
			return err
		},
		"pause a consumer": func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.PauseConsumer(ctx, transport.Interactions, transport.PCMOFB, time.Now().Add(time.Hour))
			return err
		},
	}
	deny(worker, "worker", reshape)
	deny(relay, "relay", reshape)
	deny(r.enter(transport.RoleProvisioning), "provisioning", map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"purge": reshape["purge"], "delete a stream": reshape["delete a stream"], "update a stream": reshape["update a stream"], "publish an event": publish("interactions.banco-norte.ofb"),
	})
	deny(worker, "worker", map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"publish a call": publish("interactions.banco-norte.ofb"), "publish an event": publish("events.banco-norte.ofb.consent.advanced"), "publish behind the transform": publish("p.1.events.banco-norte.ofb.consent.advanced"),
	})
	hear := func(subject string) func(ctx context.Context, js jetstream.JetStream) error {
		return func(_ context.Context, js jetstream.JetStream) error {
			_, err := js.Conn().SubscribeSync(subject)
			return err
		}
	}
	deny(relay, "relay", map[string]func(ctx context.Context, js jetstream.JetStream) error{"hear events": hear("interactions.>"), "hear the worker's answers": hear(transport.InboxOf(transport.RoleWorker) + ".>")})
	deny(sequin, "sequin", map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"hear events": hear("interactions.>"), "hear answers": hear("_INBOX.>"),
		"pull": func(_ context.Context, js jetstream.JetStream) error {
			return js.Conn().Publish("$JS.API.CONSUMER.MSG.NEXT."+transport.Interactions+"."+transport.PCMOFB, nil)
		},
		"make a consumer": func(_ context.Context, js jetstream.JetStream) error {
			return js.Conn().Publish("$JS.API.CONSUMER.CREATE."+transport.Interactions, nil)
		},
		"announce a dead letter": func(_ context.Context, js jetstream.JetStream) error { return js.Conn().Publish("dlq.x.y.z", nil) },
	})
}

// ask sends a request about INTERACTIONS that nats.go makes through an object.
func ask(ctx context.Context, js jetstream.JetStream, what, body string) error {
	_, err := js.Conn().RequestWithContext(ctx, "$JS.API."+what+"."+transport.Interactions, []byte(body))
	return err
}

func publish(subject string) func(ctx context.Context, js jetstream.JetStream) error {
	return func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Publish(ctx, subject, []byte("{}"))
		return err
	}
}
