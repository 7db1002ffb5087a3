package cli

import (
	"context"
	"fmt"
	"os/user"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/sethvargo/go-envconfig"
)

type batchCommand struct {
	Requeue requeueCommand `cmd:"" help:"Make a new batch of the events of one that the regulator refused as a whole, after the cause has been mended."`
}

type requeueCommand struct {
	ID string `arg:"" help:"The rejected batch."`
}

func (c requeueCommand) Run(ctx context.Context, o output) error {
	id, err := event.ParseID(c.ID)
	if err != nil {
		return fmt.Errorf("batch requeue %s: %w", c.ID, err)
	}
	cfg, err := app.Read(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	desk, done, err := app.Desk(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "batch"))
	if err != nil {
		return err
	}
	defer done()
	child, err := desk.Requeue(ctx, id, "operator:"+operator())
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "its events are sealed anew as batch %s\n", child)
	return nil
}

// operator is who is at the keyboard, as the ledger names actors: an id.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return "uid-" + u.Uid
}
