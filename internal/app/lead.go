package app

import (
	"context"
	"time"

	"github.com/finnest/event-runtime/internal/archive"
	"github.com/finnest/event-runtime/internal/lease"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/sweep"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// lead does what one process at a time must do.
func (p *parts) lead(ctx context.Context) error {
	job := lease.Job{Name: "leader", Owner: p.cfg.Instance, TTL: p.cfg.LeaseTTL}
	return lease.Run(ctx, p.pool, job, func(ctx context.Context, token int64) error {
		sweeper, err := sweep.New(p.cfg.Sweep, sweep.Deps{Pool: p.pool, JS: p.js, Publisher: p.sweeperJS, Slot: migrations.Slot, Now: time.Now, Log: p.log,
			Actor: "runtime:" + p.cfg.Instance, Hold: func(ctx context.Context, tx pgx.Tx) error { return job.Hold(ctx, tx, token) }})
		if err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(ctx)
		if p.cfg.MaintenanceURL != "" {
			maintenance, err := Pool(ctx, p.cfg.MaintenanceURL, 1)
			if err != nil {
				return err
			}
			defer maintenance.Close()
			g.Go(func() error { return archive.Keep(ctx, maintenance, time.Now, p.log) })
		}
		g.Go(func() error { return p.announce(ctx) })
		g.Go(func() error { return p.slot.Run(ctx) })
		g.Go(func() error { return archive.Watch(ctx, p.pool, time.Now, p.log) })
		g.Go(func() error { return sweeper.Run(ctx) })
		g.Go(func() error { return p.again.Run(ctx) })
		if every := p.cfg.Canary.Interval; every > 0 {
			canary := &sweep.Canary{Pool: p.pool, Now: time.Now, Log: p.log, Interval: every}
			g.Go(func() error { return canary.Run(ctx) })
		}
		return g.Wait()
	})
}

// announce repeats notices of quarantine that could not be published at once.
func (p *parts) announce(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := quarantine.Announce(ctx, p.pool, p.js); err != nil && ctx.Err() == nil {
			p.log.Warn().Str("event", "quarantine.announce_failed").Err(err).Send()
		}
		sleep(ctx, 10*time.Second)
	}
	return nil
}
