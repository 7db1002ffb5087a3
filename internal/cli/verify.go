package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/verify"
)

type verifyCommand struct {
	DatabaseURL string        `env:"VERIFY_DATABASE_URL,DATABASE_URL" help:"As runtime_readonly or any role that may read."`
	JSON        bool          `name:"json" help:"Print the report as JSON."`
	Grace       time.Duration `default:"60s" help:"How long an event may be on its way; 0: everything must have arrived."`
}

// unread is the exit status of a database that could not be looked at: neither
// whole nor broken.
const unread exit = 3

func (c verifyCommand) Run(ctx context.Context, o output) error {
	report, err := c.look(ctx, o)
	if err != nil {
		fmt.Fprintln(o.err, "event-runtime:", err)
		return unread
	}
	if c.JSON {
		err = json.NewEncoder(o.out).Encode(report)
	} else {
		printReport(o, report)
	}
	if err != nil {
		return err
	}
	if report.Exit != verify.Whole {
		return exit(report.Exit)
	}
	return nil
}

func (c verifyCommand) look(ctx context.Context, o output) (*verify.Report, error) {
	if c.DatabaseURL == "" {
		return nil, errors.New("verify: --database-url, VERIFY_DATABASE_URL or DATABASE_URL is needed")
	}
	pool, err := app.Pool(ctx, c.DatabaseURL, 2)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	opt := verify.Options{Grace: c.Grace, Split: app.Splitters()}
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && !c.JSON {
		opt.Progress = func(step string, done, of int) { fmt.Fprintf(o.err, "\r\033[K%s %d/%d", step, done, of) }
		defer fmt.Fprint(o.err, "\r\033[K")
	}
	return verify.Run(ctx, pool, opt)
}

func printReport(o output, r *verify.Report) {
	for _, f := range r.Broken {
		fmt.Fprintln(o.out, "BROKEN", f)
	}
	if r.BrokenMore > 0 {
		fmt.Fprintf(o.out, "BROKEN and %d more\n", r.BrokenMore)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Counted)) {
		fmt.Fprintf(o.out, "%-10s %d\n", kind, r.Counted[kind])
	}
	fmt.Fprintf(o.out, "%-10s %d\n%-10s %d\n", "pending", r.Pending, "conflicts", r.Conflicts)
	if r.Persons > 0 {
		fmt.Fprintf(o.out, "%-10s %d batches in doubt wait for two persons: event-runtime batch list\n", "persons", r.Persons)
	}
	fmt.Fprintln(o.out, map[int]string{verify.Whole: "whole", verify.Broken: "broken", verify.Incomplete: "incomplete: events are still on their way"}[r.Exit])
}
