package app

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/bridge"
	"github.com/finnest/event-runtime/internal/cdc"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/intake"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// parts are what a serving process is made of.
type parts struct {
	cfg       Config
	log       zerolog.Logger
	pool      *pgxpool.Pool
	producer  *pgxpool.Pool // nil where events are not taken over HTTP
	nc        *nats.Conn
	js        jetstream.JetStream
	sweeperNC *nats.Conn // nil where the worker itself publishes again
	sweeperJS jetstream.JetStream
	streams   *streamGauge
	tenants   *tenant.Directory
	desk      *submit.Desk
	loop      *flush.Loop
	again     *consumer.Reclassifier
	slot      *cdc.Watch
	standbys  []*pgxpool.Pool
	consumers []*consumer.Consumer
	drift     atomic.Pointer[string] // written by watch, read by readiness
}

// Serve consumes, submits and reconciles until ctx ends.
func Serve(ctx context.Context, cfg Config, log zerolog.Logger) error {
	page, shutdown, err := telemetry.Meters()
	if err != nil {
		return err
	}
	defer func() { _ = shutdown(context.WithoutCancel(ctx)) }()
	p := &parts{cfg: cfg, log: log}
	defer p.close()
	if err := p.open(ctx); err != nil {
		return err
	}
	if err := p.build(); err != nil {
		return err
	}
	if p.streams, err = newStreamGauge(); err != nil {
		return err
	}
	events, err := p.intake(ctx)
	if err != nil {
		return err
	}
	server := api.New(cfg.HTTP, page, log, p.checks()...)
	if events != nil {
		server.Mount(intake.Route, events)
	}
	if cfg.Bridge.On() {
		rows, err := bridge.New(cfg.Bridge, bridge.Deps{Pool: p.pool, JS: cmp.Or(p.sweeperJS, p.js), Now: time.Now, Log: log})
		if err != nil {
			return err
		}
		server.Mount(bridge.Route, rows)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return p.tenants.Run(ctx) })
	g.Go(func() error { return p.loop.Run(ctx) })
	g.Go(func() error { return p.desk.Reconcile(ctx) })
	g.Go(func() error { return p.watch(ctx) })
	g.Go(func() error { return p.lead(ctx) })
	for _, c := range p.consumers {
		g.Go(func() error { return c.Run(ctx) })
	}
	log.Info().Str("event", "serve.started").Str("instance", cfg.Instance).Send()
	err = g.Wait()
	log.Info().Str("event", "serve.stopped").Err(err).Send()
	return err
}

// open connects, and waits for what a starting machine may not have yet.
func (p *parts) open(ctx context.Context) error {
	var err error
	if p.pool, err = Pool(ctx, p.cfg.DatabaseURL, p.cfg.DatabaseConns); err != nil {
		return err
	}
	for _, url := range p.cfg.StandbyURLs {
		pool, err := Pool(ctx, url, 1)
		if err != nil {
			return fmt.Errorf("STANDBY_DATABASE_URLS: %w", err)
		}
		p.standbys = append(p.standbys, pool)
	}
	if p.nc, p.js, err = connect(p.cfg.NATS, p.cfg.Instance, p.log); err != nil {
		return err
	}
	if who := p.cfg.Sweeper; who.Credentials != "" {
		cfg := transport.Config{URL: p.cfg.NATS.URL, Credentials: who.Credentials, InboxPrefix: who.InboxPrefix}
		if p.sweeperNC, p.sweeperJS, err = connect(cfg, p.cfg.Instance+" sweeper", p.log); err != nil {
			return fmt.Errorf("NATS_SWEEPER_CREDENTIALS: %w", err)
		}
	}
	if err := until(ctx, p.log, "wait.database", func(ctx context.Context) (err error) {
		p.tenants, err = tenant.Open(ctx, p.pool, p.log)
		return err
	}); err != nil {
		return err
	}
	if !p.cfg.NATS.Provision {
		return nil
	}
	return until(ctx, p.log, "wait.nats", p.provision)
}

func (p *parts) provision(ctx context.Context) error {
	return transport.Provision(ctx, p.js, p.pool, p.cfg.NATS.Streams, time.Now())
}

func (p *parts) build() error {
	catalog, err := event.NewCatalog()
	if err != nil {
		return err
	}
	openFinance, err := p.buildDesk()
	if err != nil {
		return err
	}
	p.loop = flush.NewLoop(p.cfg.Flush, p.desk, time.Now, p.log)
	by := reporters(openFinance)
	if err := decided(by, transport.Entitlements()); err != nil {
		return err
	}
	if p.again, err = p.reclassifier(openFinance); err != nil {
		return err
	}
	if p.slot, err = cdc.NewWatch(cdc.Deps{Pool: p.pool, Standbys: p.standbys, Slot: migrations.Slot, Now: time.Now, Log: p.log}); err != nil {
		return err
	}
	for _, d := range transport.Durables(p.cfg.NATS.Streams.Replicas) {
		c, err := consumer.New(p.cfg.Consumer, consumer.Deps{Name: d.Config.Durable, Stream: d.Stream, JS: p.js, Pool: p.pool, Catalog: catalog,
			Tenants: p.tenants.Snapshot, Reporter: by[d.Config.Durable], Now: time.Now, Log: p.log, Wake: p.loop.Wake})
		if err != nil {
			return err
		}
		p.consumers = append(p.consumers, c)
	}
	return nil
}

// buildDesk makes what submits, and answers with the adapter that also reports.
func (p *parts) buildDesk() (*ofb.Adapter, error) {
	spool, err := submit.OpenSpool(p.cfg.SpoolDir)
	if err != nil {
		return nil, fmt.Errorf("SPOOL_DIR: %w", err)
	}
	openFinance, err := ofb.New(p.cfg.OFB, p.tenants.Snapshot, time.Now, p.log)
	if err != nil {
		return nil, err
	}
	p.desk, err = submit.NewDesk(submit.Deps{Pool: p.pool, Adapters: map[string]submit.Adapter{event.OFB: openFinance}, Tenants: p.tenants.Snapshot,
		Timing: p.cfg.Submit, Owner: p.cfg.Instance, LeaseTTL: p.cfg.LeaseTTL, Now: time.Now, Log: p.log, Spool: spool})
	return openFinance, err
}

// reclassifier looks again at what was not reportable to Open Finance.
func (p *parts) reclassifier(openFinance consumer.Reviser) (*consumer.Reclassifier, error) {
	return consumer.NewReclassifier(p.cfg.Reclassify, consumer.ReclassifyDeps{Name: transport.PCMOFB, Pool: p.pool, Tenants: p.tenants.Snapshot, Reviser: openFinance,
		Now: time.Now, Log: p.log})
}

// intake takes events over HTTP; nil where there is no producer's address.
func (p *parts) intake(ctx context.Context) (_ *intake.Service, err error) {
	if p.cfg.ProducerURL == "" {
		return nil, nil //nolint:nilnil // nil is nothing to mount
	}
	if p.producer, err = Pool(ctx, p.cfg.ProducerURL, p.cfg.Intake.Parallel); err != nil {
		return nil, fmt.Errorf("PRODUCER_DATABASE_URL: %w", err)
	}
	return intake.New(p.cfg.Intake, intake.Deps{Pool: p.producer, Tenants: p.tenants.Snapshot, Now: time.Now, Log: p.log})
}

func (p *parts) close() {
	if p.sweeperNC != nil {
		p.sweeperNC.Close()
	}
	if p.nc != nil {
		p.nc.Close()
	}
	if p.pool != nil {
		p.pool.Close()
	}
	if p.producer != nil {
		p.producer.Close()
	}
	for _, pool := range p.standbys {
		pool.Close()
	}
}
