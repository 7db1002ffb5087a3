package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/sequin"
)

// Nothing breaks, and the oracle agrees: otherwise it would prove nothing when
// something does. And it is the same by whatever way events reach the streams.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(r *rig){
		"by the relay": func(r *rig) { r.serve(); r.relay() },
		"by the relay and the bridge": func(r *rig) {
			r.relay(r.bridged(r.serve(bridgeEnv()...))...)
		},
		"by the sweeper alone": func(r *rig) { r.loseSlot(); r.serve() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sweepsAtOnce)
			start(r)
			r.wave(60)
			r.quiescent()
			r.oracle()
		})
	}
}

// Both ends of the bridge are killed while it carries.
func TestBridgeKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t, withEnv(bridgeEnv()...))
	worker := r.serve()
	at, way := "HTTP_ADDR="+r.addr(worker), r.bridged(worker)
	relay := r.relay(way...)
	for _, kill := range []func(){
		func() { relay.Kill(); relay = r.relay(way...) },
		func() { worker.Kill(); worker = r.serve(at) },
		func() { worker.Kill(); relay.Kill(); relay, worker = r.relay(way...), r.serve(at) },
	} {
		before := r.inStreams()
		r.wave(200)
		r.until("some of it is in the streams", quietWithin, func() bool { return r.inStreams() > before })
		kill()
	}
	r.quiescent()
	r.oracle()
}

// bridged makes a relay read the file of the bridge, and post to a worker.
func (r *rig) bridged(worker *testenv.Process) (env []string) {
	r.t.Helper()
	file := filepath.Join(r.dir, "sequin.bridge.yaml")
	if err := os.WriteFile(file, sequin.Bridge, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return []string{"RELAY_SEQUIN_FILE=" + file, "BRIDGE_URL=http://" + r.addr(worker), "BRIDGE_TOKEN=" + bridgeToken, "NATS_URL="}
}
