package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/sethvargo/go-envconfig"
)

type batchCommand struct {
	List    listCommand    `cmd:"" help:"List batches whose answer was lost, and what each waits for."`
	Requeue requeueCommand `cmd:"" help:"Make a new batch of the events of one that the regulator refused as a whole, after the cause has been mended."`
}

type listCommand struct {
	DatabaseURL string `env:"DATABASE_URL" help:"As any role that may read batches."`
	JSON        bool   `name:"json" help:"Print one JSON array."`
	Most        int    `default:"100" help:"How many."`
}

func (c listCommand) Run(ctx context.Context, o output) error {
	if c.DatabaseURL == "" {
		return errors.New("batch list: --database-url or DATABASE_URL is needed")
	}
	pool, err := app.Pool(ctx, c.DatabaseURL, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	all, err := submit.Doubts(ctx, pool, c.Most)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(o.out).Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(o.out, "no batch is in doubt")
		return nil
	}
	table := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "BATCH\tTENANT\tAPI\tITEMS\tATTEMPT\tCODE\tPOSTED\tDEADLINE\tWAITS FOR")
	for _, d := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", d.BatchID, d.TenantID, d.API, d.Items, d.Attempt, d.Code,
			d.PostedAt.UTC().Format(time.RFC3339), d.Deadline.UTC().Format(time.RFC3339), d.WaitsFor)
	}
	return table.Flush()
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
