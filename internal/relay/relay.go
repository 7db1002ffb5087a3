// Package relay moves the rows of the outbox to JetStream, or to a webhook, by
// change data capture, and emits what Sequin would emit.
//
// Promise: the slot is confirmed only behind messages that JetStream has stored,
//
//	that the endpoint has answered with 2xx, or that are committed in quarantine,
//	so no row is lost, whatever dies when; what is published twice has the same
//	Nats-Msg-Id. Memory is bounded.
//
// State:   the replication slot, which is also the mutex: one relay works, the
//
//	others wait for it. In memory only a window of unstored messages.
//
// Failure: whatever goes wrong with Postgres starts a new session at the slot's
//
//	position; what NATS does not store is sent again from the window, for ever,
//	and what an endpoint does not take from the backlog, as often as the file says.
package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/cdc"
	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/internal/relay/post"
	"github.com/finnest/event-runtime/sequin"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Config bounds the relay. Where NATS is, its caller knows.
type Config struct {
	DatabaseURL string        `env:"DATABASE_URL, required"`        // of the role runtime_relay
	File        string        `env:"SEQUIN_FILE"`                   // empty: the one in the binary
	Window      int           `env:"WINDOW, default=4096"`          // messages without a PubAck
	WindowBytes int           `env:"WINDOW_BYTES, default=2097152"` // of all of them; also the largest one. 4 MiB is no faster, and makes 40 MiB of the process
	Group       int           `env:"GROUP, default=500"`            // messages of one atomic batch, where the stream takes them; 1: none
	AckTimeout  time.Duration `env:"ACK_TIMEOUT, default=10s"`      // then a message counts as not stored
	DrainFor    time.Duration `env:"DRAIN_FOR, default=5s"`         // for PubAcks at shutdown
	StallFor    time.Duration `env:"STALL_FOR, default=60s"`        // then Postgres gives a relay up that takes nothing of what it sends
	CorePublish bool          `env:"CORE_PUBLISH, default=false"`   // for fault tests only: waits for no PubAck and loses messages, as Sequin does
}

// Relay follows one slot.
type Relay struct {
	cfg    Config
	plan   *plan
	nc     *nats.Conn
	log    zerolog.Logger
	counts counts

	idle    atomic.Pointer[string] // why no session is running; nil when one is
	unfit   atomic.Pointer[string] // why the server must not be left as it is
	refusal refusals

	// Of the slot, owned by Run and its session.
	told  int64    // the loss that was told last
	on    cdc.Seen // as it stood when the session began
	reach uint64   // we have said that it may be confirmed so far

	answerWithin time.Duration // of an endpoint
}

// New reads the file and starts nothing. A sink that is a webhook needs no
// connection to NATS.
func New(cfg Config, nc *nats.Conn, log zerolog.Logger) (*Relay, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	plan, err := cfg.plan()
	if err != nil {
		return nil, err
	}
	if plan.webhook == nil && nc == nil {
		return nil, errors.New("relay: the sink is NATS, and there is no connection to it")
	}
	r := &Relay{cfg: cfg, plan: plan, nc: nc, log: log.With().Str("slot", plan.slot).Logger(), answerWithin: post.Timeout}
	r.idleBecause("not started")
	return r, nil
}

// NeedsNATS reports whether the sink of the file is NATS.
func (c Config) NeedsNATS() (bool, error) {
	plan, err := c.plan()
	return err == nil && plan.webhook == nil, err
}

// plan reads the file.
func (c Config) plan() (*plan, error) {
	name, text := "the built-in sequin.yaml", sequin.NATS
	if c.File != "" {
		var err error
		if name, text, err = readFile(c.File); err != nil {
			return nil, err
		}
	}
	file, err := manifest.Read(text, os.Environ())
	if err != nil {
		return nil, fmt.Errorf("relay: %s: %w", name, err)
	}
	plan, err := planOf(file)
	if err != nil {
		return nil, fmt.Errorf("relay: %s: %w", name, err)
	}
	return plan, nil
}

// check names the variable of what cannot work.
func (c Config) check() error {
	var errs []error
	least := func(ok bool, name string, have, need any) {
		if !ok {
			errs = append(errs, fmt.Errorf("RELAY_%s is %v: give it at least %v", name, have, need))
		}
	}
	least(c.Window >= 1, "WINDOW", c.Window, 1)
	least(c.WindowBytes >= leastBytes, "WINDOW_BYTES", c.WindowBytes, leastBytes)
	if c.Group > mostOfGroup {
		errs = append(errs, fmt.Errorf("RELAY_GROUP is %d: give it at most %d, which is what a server takes", c.Group, mostOfGroup))
	}
	least(c.AckTimeout >= tendEvery, "ACK_TIMEOUT", c.AckTimeout, tendEvery) // nobody looks more often
	return errors.Join(errs...)
}

// leastBytes is room for an ordinary message, several times over.
const leastBytes = 64 << 10

func readFile(path string) (string, []byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("relay: read the file named by RELAY_SEQUIN_FILE: %w", err)
	}
	return path, text, nil
}

// Ready says why rows do not reach JetStream now, or "".
func (r *Relay) Ready() string {
	switch idle, refusal := r.idle.Load(), r.refusal.first(); {
	case idle != nil:
		return *idle
	case r.unfit.Load() != nil:
		return *r.unfit.Load()
	case r.plan.webhook != nil && refusal != "":
		return "the endpoint does not take messages: " + refusal
	case r.plan.webhook != nil:
		return ""
	case !r.nc.IsConnected():
		return "nats is not connected"
	case refusal != "":
		return "messages are not stored: " + refusal
	default:
		return ""
	}
}

func (r *Relay) idleBecause(why string) { r.idle.Store(&why) }

// Run relays until ctx ends. It gives up only when the connection to NATS has
// been closed for good.
func (r *Relay) Run(ctx context.Context) error {
	stop, err := r.counts.export()
	if err != nil {
		return err
	}
	defer stop()
	window := newWindow(r.cfg.Window, r.cfg.WindowBytes, r.cfg.AckTimeout, rand.Float64)
	var last trouble
	for {
		began := time.Now()
		err := r.session(ctx, window)
		switch {
		case ctx.Err() != nil:
			return r.stopped(err)
		case errors.Is(err, nats.ErrConnectionClosed):
			r.idleBecause("the connection to nats is closed")
			return fmt.Errorf("relay: %w", err)
		}
		last = last.after(err, time.Since(began))
		r.tell(last)
		pause(ctx, last.wait(rand.Float64()))
		if ctx.Err() != nil {
			return r.stopped(nil)
		}
	}
}

// stopped ends Run at shutdown. What could not be confirmed then is read again
// by the next relay; that is no failure.
func (r *Relay) stopped(err error) error {
	r.log.Info().Str("event", "relay.stopped").Err(err).Send()
	r.idleBecause("stopped")
	return nil
}

// tell logs a trouble when it is another than before.
func (r *Relay) tell(t trouble) {
	r.idleBecause(t.reason)
	if t.times > 1 {
		return
	}
	r.log.WithLevel(t.level).Str("event", t.event).Str("code", t.code).Err(t.err).Str("hint", t.hint).Send()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
