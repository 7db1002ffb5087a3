// Command bench measures the relay, the worker and the whole path, each beside a
// baseline in the same run on the same rows.
//
//	relay   `event-runtime relay` and test/bench/lib, catching up with a log
//	worker  `event-runtime serve` with its lanes held and test/bench/plain: pull,
//	        tell duplicates, acknowledge
//	sync    the relay again, catching up: one by one and in groups, with a server
//	        that syncs every two minutes, one that always does, and three of them
//	path    producer to stored receipt, and the same producer alone
//	latency from a producer's commit to a consumer of the stream, at a steady rate
//	capture 64 callers whose calls share commits, and each with its own
//	sweep   one pass of the sweeper over a large outbox
//
// Times mean nothing on another machine, or on this one an hour later: what
// counts is the ratio, and the processor's seconds for 100,000 events.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	rows, events, rounds int
	swept                int
	only                 string
	keep                 bool
}

func main() {
	var o options
	flag.IntVar(&o.rows, "rows", 200_000, "outbox rows that the relay catches up with, and the worker consumes")
	flag.IntVar(&o.events, "events", 60_000, "events of the whole path")
	flag.IntVar(&o.swept, "swept", 2_000_000, "outbox rows of the sweeper's part; 20,000,000 take 40 GiB of disk")
	flag.IntVar(&o.rounds, "rounds", 3, "of each contender, taking turns; medians are printed")
	flag.StringVar(&o.only, "only", "relay,latency,worker,path,capture,sweep", "parts to run; there is sync too")
	flag.BoolVar(&o.keep, "keep", false, "keep the scratch directory with all logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	parts := map[string]func(context.Context, *bed, options) error{
		"relay": relayPart, "sync": syncPart, "latency": latencyPart, "worker": workerPart, "path": pathPart, "capture": capturePart, "sweep": sweepPart,
	}
	for part := range strings.SplitSeq(o.only, ",") {
		if parts[part] == nil {
			return fmt.Errorf("-only: no part %q; there are %s", part, strings.Join(slices.Sorted(maps.Keys(parts)), ", "))
		}
	}
	programs, err := buildPrograms(ctx, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, programs.remove()) }()
	if err := describe(ctx); err != nil {
		return err
	}
	for part := range strings.SplitSeq(o.only, ",") {
		b, err := newBed(ctx, programs, part)
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		err = parts[part](ctx, b, o)
		b.close(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w (logs are kept with -keep, in %s)", part, err, b.dir)
		}
	}
	return nil
}
