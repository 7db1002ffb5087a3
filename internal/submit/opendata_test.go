package submit_test

import (
	"context"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/event"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Open data goes through the same states, but for doubt: where an answer is
// missing, nobody can be asked, and two persons decide.
func TestOutcomesOfOpenData(t *testing.T) {
	t.Parallel()
	const items = 4
	for name, tc := range map[string]struct {
		fault  simulator.Fault
		wire   func(*testenv.FaultProxy)
		code   string
		last   states
		stored int
		doubt  bool
	}{
		"all accepted":              {code: "receipts/receipts", last: states{submit.Submitted: 1}, stored: items},
		"one discarded":             {fault: simulator.Fault{Kind: simulator.DiscardItem, Item: 1}, code: "receipts/receipts", last: states{submit.PartiallyAccepted: 1}, stored: items - 1},
		"400":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 400}, code: "refused/bad_request", last: states{submit.Rejected: 1}},
		"413":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 413}, code: "receipts/receipts refused/too_large", last: states{submit.Rejected: 1, submit.Submitted: 2}, stored: items},
		"429":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 429, RetryAfter: simulator.Duration(time.Second)}, code: "refused/rate_limited", last: states{submit.Submitted: 1}, stored: items},
		"connection refused":        {wire: func(p *testenv.FaultProxy) { p.Next(testenv.Rule{Refuse: true}) }, code: "never_sent/connect_failed", last: states{submit.Submitted: 1}, stored: items},
		"stored, answer never came": {fault: simulator.Fault{Kind: simulator.LoseAnswer}, code: "unknown/answer_lost", last: states{submit.Unconfirmed: 1}, stored: items, doubt: true},
		"request never arrived":     {fault: simulator.Fault{Kind: simulator.LoseRequest}, code: "unknown/answer_lost", last: states{submit.Unconfirmed: 1}, doubt: true},
		"half an answer":            {fault: simulator.Fault{Kind: simulator.CutAnswer, Bytes: 40}, code: "unknown/answer_unreadable", last: states{submit.Unconfirmed: 1}, stored: items, doubt: true},
		"receipts of another":       {fault: simulator.Fault{Kind: simulator.WrongLength}, code: "unknown/answer_mismatch", last: states{submit.Unconfirmed: 1}, stored: items, doubt: true},
		"503":                       {fault: simulator.Fault{Kind: simulator.Status, Code: 503}, code: "unknown/server_error", last: states{submit.Unconfirmed: 1}, doubt: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t).acceptOpen(items)
			if tc.fault.Kind != "" {
				tc.fault.Times, tc.fault.API = 1, ofb.OpenData
				b.inject(tc.fault)
			}
			if tc.wire != nil {
				tc.wire(b.proxy)
			}
			b.work()
			if got := b.codes(); got != tc.code {
				t.Errorf("got %s, want %s", got, tc.code)
			}
			b.settle().wantStates(tc.last)
			b.wantEachReportedOnce(tc.stored)
			b.wantDoubts(tc.doubt)
			ledger := b.regulator.Ledger(simulator.Requests)
			for _, r := range ledger.Requests {
				if r.API != ofb.OpenData {
					t.Errorf("request %d went to %s", r.Number, r.API)
				}
			}
			if ledger.Totals.Lookups != 0 {
				t.Errorf("got %d lookups of what cannot be looked up", ledger.Totals.Lookups)
			}
		})
	}
}

// wantDoubts: one batch waits for two persons, after one request, or none does.
func (b *bench) wantDoubts(some bool) {
	b.t.Helper()
	all, err := submit.Doubts(b.t.Context(), b.db.Pool("runtime_readonly"), 10)
	if err != nil {
		b.t.Fatal(err)
	}
	if !some {
		if len(all) != 0 {
			b.t.Errorf("got %+v, want no doubt", all)
		}
		return
	}
	if len(all) != 1 || all[0].WaitsFor != submit.TwoPersons || all[0].API != ofb.OpenData || all[0].Attempt != 1 || len(all[0].SHA256) != 64 {
		b.t.Errorf("got %+v, want one batch that waits for two persons after its first attempt", all)
	}
	if n := len(b.regulator.Ledger(simulator.Requests).Requests); n != 1 {
		b.t.Errorf("the regulator read %d requests, want 1", n)
	}
}

// A lane of an API that this release does not know keeps what it has: a newer
// release gave it, and will be back.
func TestALaneOfANewerReleaseWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	party, err := event.ParseID(organisation())
	if err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		return submit.AddChunks(t.Context(), tx, b.clock.now().Add(-time.Hour), []submit.Arrival{{Tenant: bank, Ecosystem: event.OFB, EventID: event.NewID(b.clock.now()),
			Report: submit.Report{API: "hybrid-flow", Submitter: party, Deadline: b.clock.now(), Bytes: 100}}})
	}); err != nil {
		t.Fatal(err)
	}
	if l := b.lane(); !l.Policy.Held {
		t.Errorf("got policy %+v, want it held", l.Policy)
	}
	b.work().wantStates(states{})
	if n := b.count(`SELECT count(*) FROM event_runtime.lane_chunks`); n != 1 {
		t.Errorf("got %d chunks, want it still there", n)
	}
}

// What doubt there is, and what it waits for, is a metric of whoever reconciles.
func TestDoubtIsExported(t *testing.T) {
	b := newBench(t).acceptOpen(2).inject(simulator.Fault{Kind: simulator.LoseAnswer, Times: 1})
	b.work().wantStates(states{submit.Unconfirmed: 1})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- b.desk.Reconcile(ctx) }()
	want := attribute.NewSet(attribute.String("ecosystem", "ofb"), attribute.String("api", ofb.OpenData), attribute.String("waits_for", string(submit.TwoPersons)))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !exports(t, want, 1) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the batch that waits for two persons is no metric within a minute")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if exports(t, want, 1) {
		t.Error("it is exported by who no longer looks")
	}
}

// exports reports whether the gauge of doubt has a value under these labels.
func exports(t *testing.T, labels attribute.Set, value int64) bool {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := submit.Readings.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, ok := m.Data.(metricdata.Gauge[int64])
			if !ok || m.Name != "event_runtime_submit_unconfirmed_open" {
				continue
			}
			for _, p := range gauge.DataPoints {
				if p.Attributes.Equals(&labels) && p.Value == value {
					return true
				}
			}
		}
	}
	return false
}
