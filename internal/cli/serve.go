package cli

import (
	"context"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/sethvargo/go-envconfig"
)

type serveCommand struct{}

func (serveCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.Read(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	return app.Serve(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "serve"))
}
