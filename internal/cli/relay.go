package cli

import (
	"context"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/sethvargo/go-envconfig"
)

type relayCommand struct{}

func (relayCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.ReadRelay(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	return app.Relay(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "relay"))
}
