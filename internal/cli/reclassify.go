package cli

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/sethvargo/go-envconfig"
)

type reclassifyCommand struct{}

func (reclassifyCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.Read(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	round, err := app.Reclassify(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "reclassify"))
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "looked at %d events that were set aside: %d are reported now, %d wait in quarantine, %d are too old\n", round.Looked, round.Accepted, round.SetAside, round.TooOld)
	return nil
}
