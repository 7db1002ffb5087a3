package app

import (
	"context"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/rs/zerolog"
)

// Desk is what submits, alone, for commands that look after batches.
func Desk(ctx context.Context, cfg Config, log zerolog.Logger) (desk *submit.Desk, done func(), err error) {
	p := &parts{cfg: cfg, log: log}
	if p.pool, err = Pool(ctx, cfg.DatabaseURL, 2); err != nil {
		return nil, nil, err
	}
	if p.tenants, err = tenant.Open(ctx, p.pool, log); err == nil {
		_, err = p.buildDesk()
	}
	if err != nil {
		p.close()
		return nil, nil, err
	}
	return p.desk, p.close, nil
}

// Reclassify looks once through all events that were set aside, for the command.
func Reclassify(ctx context.Context, cfg Config, log zerolog.Logger) (round consumer.Round, err error) {
	p := &parts{cfg: cfg, log: log}
	defer p.close()
	if p.pool, err = Pool(ctx, cfg.DatabaseURL, 2); err != nil {
		return round, err
	}
	if p.tenants, err = tenant.Open(ctx, p.pool, log); err != nil {
		return round, err
	}
	openFinance, err := ofb.New(cfg.OFB, p.tenants.Snapshot, time.Now, log)
	if err != nil {
		return round, err
	}
	if p.again, err = p.reclassifier(openFinance); err != nil {
		return round, err
	}
	return p.again.Now(ctx)
}

// Splitters find the items of frozen bodies, by ecosystem.
func Splitters() map[string]func(api string, body []byte) ([][]byte, error) {
	return map[string]func(string, []byte) ([][]byte, error){event.OFB: ofb.Split}
}
