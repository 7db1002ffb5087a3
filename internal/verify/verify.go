// Package verify recomputes what the database claims, and names the first row
// that does not fit. Tests, chaos, CI and operators run the same code.
//
// Promise: exit 0 means that every event is accounted for, every receipt is
//
//	backed by a stored answer, every frozen byte is unchanged and every chain
//	is whole.
//
// State:   none; it reads one snapshot.
// Failure: a database that cannot be read is an error, not a finding.
package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Exit statuses.
const (
	Whole      = 0
	Broken     = 1
	Incomplete = 2 // nothing is wrong, but something is still missing
)

// Finding is one row that does not fit.
type Finding struct {
	Check  string `json:"check"`
	Where  string `json:"where"` // which row: ids, never a value
	Detail string `json:"detail"`
}

func (f Finding) String() string { return f.Check + ": " + f.Where + ": " + f.Detail }

// Report is what was found.
type Report struct {
	Exit       int              `json:"exit"`
	Broken     []Finding        `json:"broken,omitempty"` // the first few, worst first
	BrokenMore int              `json:"broken_more,omitempty"`
	Pending    int64            `json:"pending"`      // events on their way
	Conflicts  int64            `json:"conflicts"`    // same id, other payload
	Persons    int64            `json:"needs_person"` // unconfirmed batches about which nobody can be asked any more: two persons decide
	Counted    map[string]int64 `json:"counted"`      // rows looked at, by kind
}

// most findings that are kept: one is enough to know, a few help to understand.
const most = 20

func (r *Report) broken(check, where, detail string) {
	r.Exit = Broken
	if len(r.Broken) >= most {
		r.BrokenMore++
		return
	}
	r.Broken = append(r.Broken, Finding{check, where, detail})
}

// Options say how strict to be.
type Options struct {
	Grace    time.Duration                                              // how long an event may be on its way; 0: everything must have arrived
	Split    map[string]func(api string, body []byte) ([][]byte, error) // finds the items of a frozen body, by ecosystem
	Progress func(step string, done, of int)
	day      *time.Time // nil: all days
}

// Run looks at everything in one snapshot of the database.
func Run(ctx context.Context, pool *pgxpool.Pool, opt Options) (r *Report, err error) {
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		r, err = look(ctx, tx, opt)
		return err
	})
	return r, err
}

// Day holds the books of one day against its events, in one snapshot. It counts
// what is booked.
func Day(ctx context.Context, pool *pgxpool.Pool, day time.Time) (r *Report, err error) {
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		r = newReport()
		return r.take(ctx, tx, Options{day: &day}, step{"events", r.events}, step{"books", r.books})
	})
	return r, err
}

var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// look takes every step in tx.
func look(ctx context.Context, tx pgx.Tx, opt Options) (*Report, error) {
	r := newReport()
	err := r.take(ctx, tx, opt, step{"events", r.events}, step{"keys", r.keys}, step{"books", r.books}, step{"reclassifications", r.reclassifications},
		step{"batches", r.batches}, step{"doubt", r.doubt}, step{"receipts", r.receipts}, step{"inquiries", r.inquiries}, step{"audit", r.audit}, step{"conflicts", r.conflicts})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func newReport() *Report { return &Report{Counted: map[string]int64{}} }

// step is one thing to look at.
type step struct {
	name string
	do   func(context.Context, pgx.Tx, Options) error
}

func (r *Report) take(ctx context.Context, tx pgx.Tx, opt Options, steps ...step) error {
	if opt.Progress == nil {
		opt.Progress = func(string, int, int) {}
	}
	for n, step := range steps {
		opt.Progress(step.name, n, len(steps))
		if err := step.do(ctx, tx, opt); err != nil {
			return fmt.Errorf("verify %s: %w", step.name, err)
		}
	}
	if r.Exit == Whole && r.Pending > 0 {
		r.Exit = Incomplete
	}
	return nil
}
