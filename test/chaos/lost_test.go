package chaos

import (
	"crypto/tls"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/evidence"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
)

const (
	items  = 12 // of each batch
	piece  = 64 // bytes of the answer's body in each TLS record
	record = 22 // what TLS 1.3 adds to each
	alert  = 24 // the record that ends a connection, which may or may not be read
)

// slow makes the regulator answer piece by piece, so that the wire can be cut
// between any two of them.
var slow = simulator.Fault{Operation: simulator.OnReport, Kind: simulator.SlowBody, Bytes: piece, Delay: simulator.Duration(time.Millisecond)}

// A stored report whose answer was lost on the way, after any byte of it, is
// asked about and found. What did come is kept as it came; no id is made up.
func TestScenario2AnswerLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, withBatchesOf(items))
	r.relay()
	r.serve()
	r.regulator.Inject(slow)
	wire := r.measure()
	for _, c := range []struct {
		name string
		cut  int64 // bytes of the connection that reach us
		kept int   // bytes of the answer's body among them
	}{
		// A few bytes into the first record, which cannot be read without the rest.
		{"after the full request", wire.handshake + 8, 0},
		{"after the status line", wire.handshake + wire.head + (piece+record)/2, piece},
		{"after half of the body", wire.handshake + wire.head + int64(wire.pieces/2-1)*(piece+record) + (piece+record)/2, wire.pieces / 2 * piece},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.in(t)
			before := r.posts()
			r.proxy.Next(testenv.Rule{Down: testenv.Fault{After: c.cut, Then: testenv.Reset, Await: true}})
			r.calls(items, banks()[1])
			r.quiescent()
			r.oracle()
			r.wantKept(c.kept)
			if n := r.posts() - before; n != 1 {
				t.Errorf("the batch arrived %d times, want once", n)
			}
		})
	}
	t.Run("after the headers", func(t *testing.T) {
		r.in(t)
		r.regulator.Heal("")
		r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, Kind: simulator.CutAnswer, Times: 1})
		r.calls(items, banks()[1])
		r.quiescent()
		r.oracle()
		r.wantKept(0)
	})
}

// A lookup that is behind shows nothing of what is stored. As long as it does not
// show the control either, nothing is proven, and nothing is sent again.
func TestScenario2LookupBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, withSimulator(func(c *simulator.Config) { c.VisibilityDelay = 9 * time.Second }))
	r.relay()
	r.serve()
	r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, Kind: simulator.LoseAnswer, Times: 1})
	r.calls(5, banks()[1])
	r.quiescent()
	r.oracle()
	if n := r.count(`SELECT count(*) FROM event_runtime.submission_inquiries WHERE position >= 0 AND answer = 'absent'`); n == 0 {
		t.Error("the lookup was never behind: this proves nothing")
	}
	if n := len(r.proofs()); n != 0 {
		t.Errorf("got %d proofs of absence of what is stored", n)
	}
}

// wire is how the bytes of one good exchange are spread.
type wire struct {
	handshake int64 // until the answer begins
	head      int64 // the record with status line, headers and the first piece
	pieces    int
}

// measure makes one good exchange through the proxy. Signatures make handshakes
// a byte or two longer or shorter: a cut in the middle of a record does not mind.
func (r *rig) measure() wire {
	r.t.Helper()
	r.quiescent()
	w := wire{handshake: r.handshake()}
	seen := len(r.proxy.Conns())
	r.calls(items, banks()[1])
	r.quiescent()
	conns := r.proxy.Conns()[seen:]
	if len(conns) != 1 {
		r.t.Fatalf("got %d connections for one batch, want 1", len(conns))
	}
	<-conns[0].Closed()
	length := int(r.count(`SELECT raw_bytes FROM event_runtime.submission_attempts`))
	w.pieces = (length - 1 + piece - 1) / piece
	w.head = conns[0].Passed(testenv.Down) - w.handshake - int64(length-piece) - int64(w.pieces)*record - alert/2
	r.t.Logf("%+v, %d bytes of body", w, length)
	return w
}

// handshake counts what the report host says before it is asked.
func (r *rig) handshake() int64 {
	r.t.Helper()
	conn, err := tls.Dial("tcp", r.proxy.Addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	if err != nil {
		r.t.Fatal(err)
	}
	conns := r.proxy.Conns()
	n := conns[len(conns)-1].Passed(testenv.Down)
	if err := conn.Close(); err != nil {
		r.t.Fatal(err)
	}
	<-conns[len(conns)-1].Closed()
	return n
}

// posts counts the report requests of one bank that the regulator has read.
func (r *rig) posts() (n int) {
	for _, q := range r.regulator.Ledger(simulator.Requests).Requests {
		if q.Organisation == banks()[1].organisations[0] {
			n++
		}
	}
	return n
}

// wantKept: of the newest answer that was lost, exactly these bytes are stored,
// as the regulator sent them.
func (r *rig) wantKept(want int) {
	r.t.Helper()
	var raw []byte
	var outcome string
	r.scan(`SELECT a.raw, a.outcome FROM event_runtime.submission_attempts a JOIN event_runtime.export_batches b USING (batch_id)
		WHERE b.tenant_id = $1 ORDER BY a.ended_at DESC LIMIT 1`, []any{banks()[1].tenant}, &raw, &outcome)
	var kept []byte
	if raw != nil {
		var err error
		if kept, err = evidence.Expand(raw); err != nil {
			r.t.Fatal(err)
		}
	}
	if outcome != "unknown" || len(kept) != want {
		r.t.Fatalf("got outcome %s and %d bytes of an answer, want unknown and %d", outcome, len(kept), want)
	}
	var sent []string
	for _, k := range r.regulator.Ledger(simulator.Keys).Keys {
		sent = append(sent, k.Arrivals[0].ReportID)
	}
	last := -1
	for _, id := range reportID.FindAllStringSubmatch(string(kept), -1) {
		at := slices.Index(sent, id[1])
		if at < 0 || last >= 0 && at != last+1 {
			r.t.Errorf("got %q: report id %s is not the one that the regulator sent there", kept, id[1])
		}
		last = at
	}
}

var reportID = regexp.MustCompile(`"reportId":"([0-9a-f-]{36})"`)
