// Command lib is the yardstick for the relay: package baseline as a process.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/test/bench/baseline"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := baseline.Run(ctx, baseline.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"), NATSURL: os.Getenv("NATS_URL"),
		Slot: migrations.Slot, Publication: migrations.Publication, Subject: "interactions.bench.ofb",
	})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "lib:", err)
		os.Exit(1)
	}
}
