package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/finnest/event-runtime/migrations"
)

type migrateCommand struct {
	DatabaseURL string `env:"MIGRATE_DATABASE_URL" help:"As a superuser (roles are then made too) or as runtime_owner."`
	NoSlot      bool   `help:"Do not make the replication slot: another relay brings its own."`
	Slot        string `default:"runtime_outbox_slot" help:"Name of the replication slot."`
	HashModulus int    `help:"Leaves a day from now on (default: what the database has, 4 at first)."`
	PrintRoles  bool   `help:"Print the SQL that a superuser must run once, and do nothing."`
}

func (c migrateCommand) Run(ctx context.Context, o output) error {
	if c.PrintRoles {
		sql, err := migrations.FS.ReadFile("roles.sql")
		if err == nil {
			_, err = o.out.Write(sql)
		}
		return err
	}
	if c.DatabaseURL == "" {
		return errors.New("migrate: --database-url or MIGRATE_DATABASE_URL is needed, such as postgres://postgres@localhost/runtime")
	}
	if err := migrations.UpWith(ctx, c.DatabaseURL, migrations.Options{HashModulus: c.HashModulus}); err != nil {
		return err
	}
	fmt.Fprintln(o.out, "schema is current, partitions exist 14 days ahead")
	if c.NoSlot {
		return nil
	}
	made, err := migrations.EnsureSlot(ctx, c.DatabaseURL, c.Slot)
	if err != nil {
		return err
	}
	if made {
		fmt.Fprintf(o.out, "slot %s made: from now on its WAL is kept until a relay has read it\n", c.Slot)
	}
	return nil
}
