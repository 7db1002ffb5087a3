package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/finnest/event-runtime/internal/up"
)

type upCommand struct {
	Demo     bool          `help:"Also run a small market of banks with traffic."`
	DataDir  string        `default:".event-runtime" help:"Everything that is kept."`
	Fresh    bool          `help:"Begin with an empty data directory."`
	For      time.Duration `help:"Run so long, drain, verify, and exit 0 only if all is well."`
	Rate     float64       `default:"20" help:"Events a second of the demonstration."`
	Chaos    string        `enum:",light" default:"" help:"light: kill worker and relay, lose requests and answers."`
	Seed     uint64        `help:"Of chaos, to repeat a run (default: drawn, and printed)."`
	JSON     bool          `name:"json" help:"Print one JSON object at the end (with --for)."`
	Sync     bool          `name:"sync-always" help:"JetStream syncs to disk before each acknowledgement, and takes atomic batches (for a new data directory)."`
	PortBase int           `default:"47000" help:"First of eight ports on loopback."`
}

func (c upCommand) Run(ctx context.Context, o output) error {
	result, err := up.Run(ctx, up.Options{Demo: c.Demo, DataDir: c.DataDir, Fresh: c.Fresh, For: c.For, Rate: c.Rate, Chaos: c.Chaos, Seed: c.Seed, JSON: c.JSON, SyncAlways: c.Sync, PortBase: c.PortBase}, o.out, o.err)
	if err != nil || result == nil {
		return err
	}
	encoder := json.NewEncoder(o.out)
	if !c.JSON {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(result); err != nil {
		return err
	}
	if !result.Well() {
		return exit(1)
	}
	return nil
}
