package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go/jetstream"
)

// sweeping makes the sweeper look every moment. What it publishes is given time
// to arrive: a cluster may be without a leader meanwhile.
var sweeping = []string{"SWEEP_INTERVAL=500ms", "SWEEP_GRACE=2s", "SWEEP_AGAIN=30s"}

// times that a short and a long run have.
func rounds(short, long int) int {
	if os.Getenv("CHAOS_ALL") != "" {
		return long
	}
	return short
}

// addr waits until a process listens, and says where.
func (r *rig) addr(p *testenv.Process) string {
	r.t.Helper()
	var line struct{ Addr string }
	if err := json.Unmarshal([]byte(p.Line("http.listening")), &line); err != nil {
		r.t.Fatal(err)
	}
	return line.Addr
}

// page asks a process for one of its pages. A process that is stopped, or does not
// listen yet, gives status 0.
func (r *rig) page(p *testenv.Process, path string) (status int, body string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr(p)+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

var gapLine = regexp.MustCompile(`(?m)^event_runtime_outbox_gap_rows\{[^}]*\} ([0-9.e+]+)$`)

// gap is the metric of rows that should be there and are not.
func (r *rig) gap(p *testenv.Process) (rows float64) {
	_, text := r.page(p, "/metrics")
	for _, m := range gapLine.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.ParseFloat(m[1], 64) // the pattern has let nothing else through
		rows += n
	}
	return rows
}

// leader waits until a stream has one, and gives its number.
func (r *rig) leader(stream string) (n int) {
	r.t.Helper()
	r.until("stream "+stream+" has a leader", time.Minute, func() bool {
		info, err := r.streamInfo(r.js, stream)
		if err == nil {
			n, err = r.cluster.Leader(info)
		}
		return err == nil
	})
	return n
}

func (r *rig) streamInfo(js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// current waits until every replica of each stream has all of it again.
func (r *rig) current() {
	r.t.Helper()
	r.until("all replicas are current", time.Minute, func() bool {
		for _, name := range []string{transport.Interactions, transport.Events} {
			info, err := r.streamInfo(r.js, name)
			if err != nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != r.limits.Replicas-1 {
				return false
			}
			for _, replica := range info.Cluster.Replicas {
				if replica.Offline || !replica.Current {
					return false
				}
			}
		}
		return true
	})
}

// arrive waits until so many more events have a row.
func (r *rig) arrive(more int64, why string) {
	r.t.Helper()
	from := r.rows()
	r.until(fmt.Sprintf("%d more rows %s", more, why), 2*time.Minute, func() bool { return r.rows() >= from+more })
}

// A publisher that waits for no PubAck loses what is on its way to a leader that
// dies or hangs, and never hears of it. The sweeper publishes it again: the gap
// rises and falls, and no event is published a third time.
func TestScenario4UnackedPublisherAndDyingLeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, onNodes(3), withEnv(sweeping...))
	r.relay("RELAY_CORE_PUBLISH=true")
	worker := r.serve()
	worker.Line("serve.started")
	seen := r.watchGap(worker)
	during, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := r.load(during, 100, banks()...)
	r.arrive(50, "at first")
	for i := range rounds(2, 5) {
		n := r.leader(transport.Interactions)
		if i%2 == 0 {
			r.cluster.Kill(n)
		} else {
			r.cluster.Stop(n)
		}
		r.elects(transport.Interactions, n)
		if i%2 == 0 {
			r.cluster.Start(n)
		} else {
			r.cluster.Continue(n)
		}
		r.arrive(20, "behind a new leader")
	}
	stop()
	<-loaded
	r.current()
	r.quiescent()
	r.until("the gap falls", time.Minute, func() bool {
		return r.gap(worker) == 0 && r.count(`SELECT count(*) FROM event_runtime.sweep_owed`) == 0
	})
	r.oracle()
	most := seen()
	t.Logf("%d of %d events were lost on the way and published again; the gap was seen at %v", r.swept(), r.appended(), most)
	if r.swept() == 0 || most == 0 {
		t.Error("got nothing swept, or no gap: nothing was lost, and so nothing is shown")
	}
}

// watchGap looks at the metric all the time, and gives the most that was seen.
func (r *rig) watchGap(p *testenv.Process) (most func() float64) {
	r.t.Helper()
	r.page(p, "/livez") // it listens
	ctx, stop := context.WithCancel(r.t.Context())
	highest := make(chan float64, 1)
	go func() {
		var high float64
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				highest <- high
				return
			case <-tick.C:
				high = max(high, r.gap(p))
			}
		}
	}()
	return func() float64 { stop(); return <-highest }
}

// swept counts what the sweeper has published.
func (r *rig) swept() int64 {
	r.t.Helper()
	return r.count(`SELECT coalesce(sum(swept), 0)::bigint FROM event_runtime.books`)
}

// elects waits until a stream is led by somebody else. Another node is asked: one
// that is cut off says for a while that it leads.
func (r *rig) elects(stream string, than int) {
	r.t.Helper()
	js := r.cluster.JetStream((than + 1) % len(r.cluster.Nodes))
	defer js.Conn().Close()
	r.until("another leader of "+stream, time.Minute, func() bool {
		info, err := r.streamInfo(js, stream)
		if err != nil {
			return false
		}
		n, err := r.cluster.Leader(info)
		return err == nil && n != than
	})
}

// One of three nodes is killed, stopped or cut off from the others, the one that
// leads: all goes on without it, by itself, and nothing is lost.
func TestScenario11OneNodeIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, onNodes(3))
	r.relay()
	r.serve()
	during, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := r.load(during, 40, banks()...)
	r.arrive(20, "at first")
	type fault struct {
		name     string
		do, undo func(*testenv.NATSCluster, int)
	}
	faults := []fault{
		{"killed", (*testenv.NATSCluster).Kill, (*testenv.NATSCluster).Start},
		{"stopped", (*testenv.NATSCluster).Stop, (*testenv.NATSCluster).Continue},
		{"cut off", (*testenv.NATSCluster).Cut, (*testenv.NATSCluster).Join},
	}
	if leaveOut := int(r.roll(2)); rounds(0, 1) == 0 { // killed or stopped: the other one next time
		faults = slices.Delete(faults, leaveOut, leaveOut+1)
	}
	for range rounds(1, 3) {
		for _, f := range faults {
			n := r.leader(transport.Interactions)
			f.do(r.cluster, n)
			began := time.Now()
			r.elects(transport.Interactions, n)
			r.arrive(40, "while the leader is "+f.name)
			t.Logf("leader %s: 40 more rows after %v", f.name, time.Since(began).Round(time.Millisecond))
			f.undo(r.cluster, n)
			r.current()
		}
	}
	stop()
	<-loaded
	r.quiescent()
	r.oracle()
}

// All nodes are killed and their disks are gone. The processes stay, say that they
// are not ready, and make the streams again; the sweeper publishes what was stored
// and not consumed.
func TestScenario12AllNodesAndTheirDisksAreGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, onNodes(3), withEnv(sweeping...))
	relay, worker := r.relay(), r.serve()
	r.wave(40)
	r.arrive(40, "at first")
	r.quiescent()
	r.pause() // the next ones are stored, and nobody reads them
	r.wave(40)
	r.streamed()
	r.confirmed()
	for i := range r.cluster.Nodes {
		r.cluster.Kill(i)
		r.cluster.Wipe(i)
	}
	for name, p := range map[string]*testenv.Process{"relay": relay, "serve": worker} {
		r.until(name+" is alive, and not ready", time.Minute, func() bool {
			alive, _ := r.page(p, "/livez")
			ready, _ := r.page(p, "/readyz")
			return alive == http.StatusOK && ready == http.StatusServiceUnavailable
		})
	}
	r.wave(10) // while there is nobody
	for i := range r.cluster.Nodes {
		r.cluster.Start(i)
	}
	worker.Line("streams.provisioned")
	r.quiescent()
	r.until("both are ready again", time.Minute, func() bool {
		one, _ := r.page(relay, "/readyz")
		two, _ := r.page(worker, "/readyz")
		return one == http.StatusOK && two == http.StatusOK
	})
	r.oracle()
	if r.swept() == 0 {
		t.Error("got nothing swept, want what was stored and lost")
	}
	if _, text := r.page(worker, "/metrics"); !strings.Contains(text, `event_runtime_stream_fill_ratio{`) {
		t.Error("got no metric of how full the streams are")
	}
}

// pause keeps the consumers from getting anything. A worker that is stopped
// instead has messages in its socket already.
func (r *rig) pause() {
	r.t.Helper()
	for _, d := range transport.Durables(r.limits.Replicas) {
		if _, err := r.js.PauseConsumer(r.t.Context(), d.Stream, d.Config.Durable, time.Now().Add(time.Hour)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// confirmed waits until the slot is confirmed up to what the log holds now: the
// relay will not bring these again.
func (r *rig) confirmed() {
	r.t.Helper()
	var lsn string
	r.scan(`SELECT pg_current_wal_insert_lsn()::text`, nil, &lsn)
	r.until("the slot is confirmed up to "+lsn, time.Minute, func() bool {
		return r.count(`SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn >= $1::pg_lsn`, lsn) == 1
	})
}
