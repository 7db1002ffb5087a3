package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/local"
)

type natsCommand struct {
	Dir        string `default:".event-runtime/nats" help:"Where JetStream keeps its streams."`
	Port       int    `default:"4222" help:"On loopback."`
	SyncAlways bool   `help:"Sync to disk before each acknowledgement, as a cluster should; otherwise every two minutes."`
	MaxBytes   int64  `default:"10737418240" help:"Of all streams."`
}

func (c natsCommand) Run(ctx context.Context, o output) error {
	return local.RunNATS(ctx, local.NATSConfig{Dir: c.Dir, Port: c.Port, SyncAlways: c.SyncAlways, MaxFileStore: c.MaxBytes,
		Log: func(level, text string) {
			fmt.Fprintf(o.err, "%s %s %s\n", time.Now().UTC().Format(time.RFC3339), level, text)
		}})
}
