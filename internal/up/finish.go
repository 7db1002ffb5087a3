package up

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/demo"
	"github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of the drain.
const (
	drainFor   = 3 * time.Minute
	controlFor = time.Minute // how long the control tenant keeps reporting
)

// Result is what a bounded run came to.
type Result struct {
	demo.Summary
	Findings []verify.Finding `json:"findings,omitempty"`
	Backlog  *demo.Backlog    `json:"backlog,omitempty"` // what did not drain in time
}

// Well reports that nothing was lost, doubled or left in doubt.
func (r *Result) Well() bool {
	return r.VerifyExit == verify.Whole && r.BooksBalanced && r.RegulatorDuplicates == 0 && r.Unconfirmed.Askable == 0 && r.CapturedLost == 0 && r.Backlog == nil
}

// finish stops the traffic, lets everything arrive, and verifies.
func (m *machine) finish(ctx context.Context) (*Result, error) {
	r := &Result{}
	r.Seed = m.opt.Seed
	if m.opt.Demo {
		if err := m.ask(ctx, http.MethodPost, m.ports.bank, "/_rate?events=0", nil); err != nil {
			return nil, fmt.Errorf("stop the traffic: %w", err)
		}
	}
	if err := m.drain(ctx, r); err != nil {
		return nil, err
	}
	if err := m.readStats(ctx, r); err != nil {
		return nil, err
	}
	report, err := verify.Run(ctx, m.pool, verify.Options{Split: app.Splitters()})
	if err != nil {
		return nil, err
	}
	r.VerifyExit, r.BooksBalanced, r.Findings = report.Exit, report.Exit == verify.Whole, report.Broken
	return r, r.ReadDatabase(ctx, m.pool)
}

// drain makes everything due and waits until nothing moves any more.
func (m *machine) drain(ctx context.Context, r *Result) error {
	fmt.Fprintln(m.say, "draining ...")
	if err := m.withSuperuser(ctx, database, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `UPDATE event_runtime.settings SET drain = true`)
		return err
	}); err != nil {
		return err
	}
	began := time.Now()
	control := time.NewTicker(time.Second)
	defer control.Stop()
	for {
		backlog, err := demo.ReadBacklog(ctx, m.pool)
		if err != nil {
			return err
		}
		if backlog.Done() {
			return nil
		}
		if time.Since(began) > drainFor {
			r.Backlog = &backlog
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-control.C:
		}
		if backlog.Askable > 0 && m.opt.Demo && time.Since(began) < controlFor {
			// Only a report that must be visible by now makes an absence a proof.
			_ = m.ask(ctx, http.MethodPost, m.ports.bank, "/_control", nil)
		}
	}
}

// readStats asks the other processes what they have seen.
func (m *machine) readStats(ctx context.Context, r *Result) error {
	if m.opt.Demo {
		var stats demo.Stats
		if err := m.get(ctx, m.ports.bank, "/_stats", &stats); err != nil {
			return err
		}
		r.CapturedLost, r.CapturedLate = stats.Lost, stats.Late
	}
	var ledger ofb.Ledger
	if err := m.get(ctx, m.ports.control, "/_ledger", &ledger); err != nil {
		return err
	}
	r.RegulatorDuplicates = ledger.Totals.Duplicates
	nc, err := nats.Connect("nats://" + on(m.ports.nats))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, name := range []string{"INTERACTIONS", "EVENTS"} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return err
		}
		r.Relayed += int64(stream.CachedInfo().State.LastSeq)
	}
	return nil
}
