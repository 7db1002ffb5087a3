// Command event-runtime reports regulated API calls on time, with proof.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/finnest/event-runtime/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
