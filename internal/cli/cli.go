// Package cli is the commands, one file each.
//
// Promise: an error says what is wrong, where, and what to do next; exit status
//
//	0 is success, 1 failure, 64 a wrong call; verify and sequin check have their own.
//
// State:   none.
// Failure: printed to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// commands is everything event-runtime can do.
type commands struct {
	Up         upCommand         `cmd:"" help:"Run everything on this machine: Postgres, NATS, relay, workers, and with --demo a regulator and traffic."`
	Serve      serveCommand      `cmd:"" help:"Consume, submit and reconcile, against services named by the environment."`
	Relay      relayCommand      `cmd:"" help:"Move the outbox to JetStream, as Sequin would."`
	Migrate    migrateCommand    `cmd:"" help:"Bring a database to this release's schema, and make partitions ahead."`
	Verify     verifyCommand     `cmd:"" help:"Recompute everything the database claims; exit 0 whole, 1 broken, 2 incomplete, 3 when it cannot be read."`
	Batch      batchCommand      `cmd:"" help:"Look after batches."`
	Sequin     sequinCommand     `cmd:"" help:"Look after Sequin."`
	Reclassify reclassifyCommand `cmd:"" help:"Look again, now, at events that were not reportable when they came. The leader does it by itself when the catalogue has grown."`
	NATS       natsCommand       `cmd:"" name:"nats" help:"Run the embedded NATS server."`
	Simulate   simulateCommand   `cmd:"" help:"Run a simulator."`
	Version    versionCommand    `cmd:"" help:"Say which release this is."`
}

// output is where commands write.
type output struct{ out, err io.Writer }

// usage is the exit status of a call that is wrong, as sysexits(3) has it: 1 and
// 2 are answers of verify.
const usage = 64

// exit is an error that only carries a status: what there was to say was said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Run parses and runs one command, and answers with its exit status.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	status := -1
	parser, err := kong.New(&c, kong.Name("event-runtime"), kong.Description("Reports every regulated API call to its regulator, on time, with proof."),
		kong.Writers(stdout, stderr), kong.UsageOnError(), kong.Exit(func(code int) { status = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(output{stdout, stderr}))
	if err != nil {
		fmt.Fprintln(stderr, "event-runtime:", err)
		return 1
	}
	parsed, err := parser.Parse(args)
	if status >= 0 { // --help
		return status
	}
	if err != nil {
		parser.Errorf("%s", err)
		fmt.Fprintln(stderr, "Run event-runtime --help for the commands.")
		return usage
	}
	var code exit
	switch err := parsed.Run(); {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	default:
		fmt.Fprintln(stderr, "event-runtime:", err)
		return 1
	}
}

type versionCommand struct{}

func (versionCommand) Run(o output) error {
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintf(o.out, "event-runtime %s, %s\n", info.Main.Version, info.GoVersion)
	return nil
}
