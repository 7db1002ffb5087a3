package chaos

import (
	"testing"
	"time"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/verify"
)

const (
	openItems = 20
	notYet    = "OFB_APIS=private" // what a release without open data knows
)

// A report of open data whose answer was lost cannot be asked about: it stays in
// doubt, for two persons, and nothing sends it again; what comes later is reported.
func TestOpenDataInDoubt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  simulator.Kind
		stored bool
	}{
		"stored, and the answer never came": {simulator.LoseAnswer, true},
		"the request never arrived":         {simulator.LoseRequest, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, withBatchesOf(openItems))
			r.relay()
			worker := r.serve()
			r.regulator.Inject(simulator.Fault{Operation: simulator.OnReport, API: "opendata", Kind: c.fault, Times: 1})
			r.openCalls(openItems)
			for _, s := range r.sent {
				s.fate, s.stored = inDoubt, c.stored
			}
			r.until("the batch is in doubt", time.Minute, func() bool {
				return r.count(`SELECT count(*) FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' AND api = 'opendata' AND needs_person AND ask_at IS NULL`) == 1
			})
			worker.Signal(terminate) // nor does another worker send it
			worker.ExitedWith(0)
			r.serve()
			r.calls(openItems, banks()[1]) // reports that can be asked about are a control to others
			r.openCalls(openItems)
			r.quiescent()
			r.oracle()
			r.wantStillInDoubt()
		})
	}
}

// openCalls appends n calls of open data to the second bank.
func (r *rig) openCalls(n int) {
	r.t.Helper()
	var each []bank
	for range n {
		each = append(each, banks()[1])
	}
	if err := r.appendCalls(r.t.Context(), r.openCall, each...); err != nil {
		r.t.Fatal(err)
	}
}

// wantStillInDoubt: one batch of open data waits for two persons, was sent once,
// and nobody was asked about it.
func (r *rig) wantStillInDoubt() {
	r.t.Helper()
	var batch, sum, state string
	var attempt int
	r.scan(`SELECT batch_id::text, encode(body_sha256, 'hex'), state, attempt FROM event_runtime.export_batches WHERE needs_person`, nil, &batch, &sum, &state, &attempt)
	if state != "submit_unconfirmed" || attempt != 1 {
		r.t.Errorf("the batch in doubt is %s after attempt %d, want submit_unconfirmed after the first", state, attempt)
	}
	if n := r.count(`SELECT count(*) FROM event_runtime.submission_inquiries WHERE batch_id = $1::uuid`, batch); n != 0 {
		r.t.Errorf("%d questions were asked about what cannot be asked about", n)
	}
	posts := 0
	for _, q := range r.regulator.Ledger(simulator.Requests).Requests {
		if q.BodySHA256 == sum {
			posts++
		}
	}
	if posts != 1 {
		r.t.Errorf("its bytes arrived %d times, want once", posts)
	}
	report, err := verify.Run(r.t.Context(), r.pool, verify.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Persons != 1 {
		r.t.Errorf("verify counts %d batches that wait for persons, want 1", report.Persons)
	}
}

// setSomeAside lets open data come to a worker that does not report it. The next
// worker does.
func (r *rig) setSomeAside() {
	r.t.Helper()
	worker := r.serve(notYet)
	before := r.aside()
	r.openCalls(openItems)
	r.until("open data is set aside", time.Minute, func() bool { return r.aside() == before+openItems })
	worker.Signal(terminate)
	worker.ExitedWith(0)
	// The second round: the worker may have gone before it led, and a first one looked.
	r.serveEnv = append(r.serveEnv, "RECLASSIFY_PAGE=7", "RECLASSIFY_INTERVAL=200ms", "RECLASSIFY_AGAIN=1s")
}

func (r *rig) aside() int64 {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency k JOIN event_runtime.outbox o USING (tenant_id, recorded_on, event_id)
		WHERE k.outcome = 'ineligible:api_not_enabled' AND o.event_type = 'interaction.completed'`)
}

// wantNothingReclassified: the page that was under way has left nothing behind.
func (r *rig) wantNothingReclassified() {
	r.t.Helper()
	if n := r.count(`SELECT (SELECT count(*) FROM event_runtime.reclassifications) + (SELECT count(*) FROM event_runtime.lane_chunks WHERE api = 'opendata')`); n != 0 {
		r.t.Errorf("got %d reclassifications and chunks of them, want none", n)
	}
}

// wantReclassified waits until all that was set aside has its place.
func (r *rig) wantReclassified() {
	r.t.Helper()
	r.until("what was set aside is classified again", time.Minute, func() bool {
		return r.count(`SELECT count(*) FROM event_runtime.reclassifications`) == r.aside()
	})
}
