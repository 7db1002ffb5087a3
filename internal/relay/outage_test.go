package relay

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// TestBrokerGone: NATS ends under load and comes back, in order and not.
func TestBrokerGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Window = 512
	run := r.start()
	load := r.produce()
	for range 2 {
		seen := r.count()
		await(t, "progress", func() bool { return r.count() > seen+200 })
		r.nats.Stop()
		await(t, "the loss to be noticed", func() bool { return run.Ready() == "nats is not connected" })
		r.append(1000, "consent.advanced") // more than the window holds
		r.nats.Start()
	}
	load.stop()
	r.wantAll(r.rows())
	r.confirmed()
	await(t, "readiness", func() bool { return run.Ready() == "" })
}

// TestBrokerConnectionCut: the connection to NATS breaks at any byte, or falls
// silent, and what was stored meanwhile is not stored again.
func TestBrokerConnectionCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule  testenv.Rule
		twice bool // something was stored and its PubAck lost
	}{
		"before messages arrive":     {testenv.Rule{Up: testenv.Fault{After: 100_000, Then: testenv.Reset}}, false},
		"before PubAcks arrive":      {testenv.Rule{Down: testenv.Fault{After: 20_000, Then: testenv.Reset, Await: true}}, true},
		"messages fall on deaf ears": {testenv.Rule{Up: testenv.Fault{After: 100_000, Then: testenv.Blackhole}}, false},
		"PubAcks are never heard":    {testenv.Rule{Down: testenv.Fault{After: 20_000, Then: testenv.Blackhole, Await: true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.append(1000, "consent.advanced")
			proxy := testenv.Proxy(t, strings.TrimPrefix(r.nats.URL(), "nats://"))
			proxy.Next(c.rule, c.rule)
			run := r.startOn(r.connectTo("nats://"+proxy.Addr(), nats.PingInterval(100*time.Millisecond), nats.MaxPingsOutstanding(1)))
			r.wantAll(1000)
			r.confirmed()
			if len(proxy.Conns()) < 3 {
				t.Errorf("got %d connections, want the first two broken", len(proxy.Conns()))
			}
			if got := run.Stats(); c.twice && got.Duplicate == 0 || got.Parked != 0 {
				t.Errorf("got %+v, want some sent twice: %v", got, c.twice)
			}
		})
	}
}

// TestBrokerLate: the relay is there before NATS is.
func TestBrokerLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(10, "consent.advanced")
	url := r.nats.URL()
	r.nats.Stop()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	run := r.startOn(nc)
	r.log.await(t, "relay.connected")
	if got := run.Ready(); got != "nats is not connected" {
		t.Errorf("got %q, want NATS missed", got)
	}
	r.nats.Start()
	r.wantAll(10)
	r.confirmed()
	if got := run.Stats().Failed; got != 0 {
		t.Errorf("got %d failures, want none: nothing was tried", got)
	}
}

// TestConnectionClosed: a connection that is closed for good ends the relay.
func TestConnectionClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc := r.connect()
	relay, err := New(r.cfg, nc, zerolog.New(r.log))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- relay.Run(t.Context()) }()
	r.log.await(t, "relay.connected")
	nc.Close()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "connection closed") {
			t.Errorf("got %v, want the connection closed", err)
		}
	case <-time.After(patience):
		t.Fatal("the relay did not give up")
	}
}

// TestStoppedWithoutBroker: shutdown does not wait for answers that cannot come.
func TestStoppedWithoutBroker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.DrainFor = time.Hour
	run := r.start()
	r.log.await(t, "relay.connected")
	r.nats.Stop()
	r.append(10, "consent.advanced")
	await(t, "the loss to be noticed", func() bool { return run.Ready() != "" })
	run.stop()
	r.nats.Start()
	r.start()
	r.wantAll(10)
}

// TestDatabaseGone: Postgres ends under load and comes back.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testenv.PostgresServer){
		"in order": (*testenv.PostgresServer).Stop,
		"killed":   (*testenv.PostgresServer).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			run := r.start()
			load := r.produce()
			await(t, "progress", func() bool { return r.count() > 300 })
			load.stop()
			end(r.pg)
			r.log.await(t, "relay.interrupted")
			if run.Ready() == "" {
				t.Error("got it ready without a database")
			}
			r.pg.Start()
			load = r.produce()
			seen := r.count()
			await(t, "progress again", func() bool { return r.count() > seen+300 })
			load.stop()
			r.wantAll(r.rows())
			r.confirmed()
		})
	}
}

// TestConnectionsCut: the stream is reset at any byte.
func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := testenv.Proxy(t, strings.Split(strings.Split(r.pg.URL("runtime_relay"), "@")[1], "/")[0])
	r.cfg.DatabaseURL = strings.Replace(r.cfg.DatabaseURL, strings.Split(strings.Split(r.pg.URL("runtime_relay"), "@")[1], "/")[0], proxy.Addr(), 1)
	r.append(3000, "consent.advanced")
	for _, bytes := range []int64{100, 1_000, 20_000, 300_000, 1_000_000} {
		proxy.Next(testenv.Rule{}, testenv.Rule{Down: testenv.Fault{After: bytes, Then: testenv.Reset}})
	}
	r.start()
	r.wantAll(3000)
	r.confirmed()
}

// TestStoppedWhileNothingAnswers: shutdown is bounded.
func TestStoppedWhileNothingAnswers(t *testing.T) {
	t.Parallel()
	r := bareRig(t, testenv.Cluster(t)) // without streams
	r.makeSlot()
	r.cfg.DrainFor = 100 * time.Millisecond
	relay, err := New(r.cfg, r.connect(), zerolog.New(r.log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	r.append(10, "consent.advanced")
	r.log.await(t, noStream)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the relay did not stop")
	}
}
