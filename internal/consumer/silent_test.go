package consumer

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
)

// quiet makes the server keep its messages back from the consumer, as one whose
// leader is lost does, until the test wants them delivered.
func (r *rig) quiet(until time.Time) {
	r.t.Helper()
	if _, err := r.js.PauseConsumer(r.t.Context(), transport.Interactions, transport.PCMOFB, until); err != nil {
		r.t.Fatal(err)
	}
}

// asked counts how often the server is asked about the durable.
func (r *rig) asked() *atomic.Int64 {
	r.t.Helper()
	var n atomic.Int64
	conn := r.nats.Conn()
	_, err := conn.Subscribe("$JS.API.CONSUMER.INFO."+transport.Interactions+"."+transport.PCMOFB, func(*nats.Msg) { n.Add(1) })
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return &n
}

// Messages wait and none comes: not ready, and pulled anew. When that is no help
// the process ends, for its supervisor.
func TestSilentTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.SilentFor = 300 * time.Millisecond
	r.quiet(time.Now().Add(time.Hour))
	d := newDraft()
	r.append(d)
	r.publish(d)
	c, _, ended := r.run()
	eventually(t, "it is not ready", func() bool { return c.Ready() != "" })
	if err := <-ended; !errors.Is(err, errSilent) || !strings.Contains(err.Error(), transport.PCMOFB+" on "+transport.Interactions) {
		t.Errorf("got %v, want an end that names the consumer", err)
	}
	if got := r.place(acme, d.id); got != "" {
		t.Errorf("got %q, want nothing decided", got)
	}
}

func TestSilentOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.SilentFor = 2 * time.Second
	r.quiet(time.Now().Add(time.Hour))
	d := newDraft()
	r.append(d)
	r.publish(d)
	c, leave, ended := r.run()
	eventually(t, "it is not ready", func() bool { return c.Ready() != "" })
	r.quiet(time.Time{})
	r.settled()
	if why := c.Ready(); why != "" {
		t.Errorf("got %q, want it ready after a message", why)
	}
	leave()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want an end in order", err)
	}
	r.whole()
}

// Silence says nothing where nothing waits, or where nobody answers.
func TestSilenceThatIsNoFault(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(r *rig){
		"nothing waits": func(*rig) {},
		"all that waits is with another worker": func(r *rig) {
			r.publish(newDraft())
			source, err := r.js.Consumer(r.t.Context(), transport.Interactions, transport.PCMOFB)
			if err != nil {
				r.t.Fatal(err)
			}
			if _, err := source.Next(); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cfg.SilentFor = 30 * time.Millisecond
			prepare(r)
			asked := r.asked()
			c, leave, ended := r.run()
			eventually(t, "the server was asked several times", func() bool { return asked.Load() >= 6 })
			if why := c.Ready(); why != "" {
				t.Errorf("got %q, want it ready", why)
			}
			leave()
			if err := <-ended; err != nil {
				t.Errorf("got %v, want an end in order", err)
			}
		})
	}
}

func TestNoAnswerIsNoProofOfSilence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := newDraft()
	r.append(d)
	proxy := testenv.Proxy(t, strings.TrimPrefix(r.nats.URL(), "nats://"))
	direct := r.js
	conn, js, err := transport.Connect(transport.Config{URL: "nats://" + proxy.Addr()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	r.js = js
	source, err := r.js.Consumer(t.Context(), transport.Interactions, transport.PCMOFB)
	if err != nil {
		t.Fatal(err)
	}
	r.js = direct
	r.publish(d)
	watch := newWatchdog(source, time.Minute)
	defer watch.stop()
	if !watch.pending(t.Context()) {
		t.Error("got nothing pending, want the message that waits")
	}
	proxy.Refuse()
	proxy.Reset()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if watch.pending(short) {
		t.Error("got something pending from a server that did not answer")
	}
}
