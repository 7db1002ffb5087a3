package cli

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/relay"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/google/uuid"
	"github.com/sethvargo/go-envconfig"
)

type relayCommand struct {
	Run      relayRunCommand      `cmd:"" default:"1" help:"Move the outbox to where the sink of the file says (default)."`
	Backfill relayBackfillCommand `cmd:"" help:"Ask the relay that is running to send every row of a table again, as action read."`
}

type relayRunCommand struct{}

// Run relays until it is told to stop.
func (relayRunCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.ReadRelay(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	return app.Relay(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "relay"))
}

type relayBackfillCommand struct {
	Table string    `help:"As schema.table (default: the first that the sink names)."`
	ID    uuid.UUID `name:"id" help:"Of the backfill: the same id gives the same idempotency keys (default: a new one)."`
}

// Run puts the request into the log; the relay says there how it goes.
func (c relayBackfillCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.ReadRelay(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	if c.ID == uuid.Nil {
		c.ID = uuid.New()
	}
	table, err := relay.RequestBackfill(ctx, cfg.Relay, c.ID, c.Table)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "backfill %s of %s requested; the relay logs backfill.completed or backfill.failed\n", c.ID, table)
	return nil
}
