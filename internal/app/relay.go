package app

import (
	"context"
	"reflect"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/relay"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
	"golang.org/x/sync/errgroup"
)

// RelayConfig is everything `relay` reads from its environment.
type RelayConfig struct {
	Relay    relay.Config        `env:", prefix=RELAY_"`
	NATS     transport.Config    `env:", prefix=NATS_"`
	HTTPAddr string              `env:"RELAY_HTTP_ADDR, default=127.0.0.1:8081"` // beside a worker on the same machine
	Log      telemetry.LogConfig `env:", prefix=LOG_"`
}

// ReadRelay takes the relay's configuration from variables.
func ReadRelay(ctx context.Context, from envconfig.Lookuper) (cfg RelayConfig, err error) {
	if err := process(ctx, &cfg, withoutNATS(from)); err != nil {
		return cfg, err
	}
	var wrong complaints
	wrong.numbers(reflect.ValueOf(cfg), "")
	wrong.address("RELAY_DATABASE_URL", cfg.Relay.DatabaseURL)
	wrong.log(cfg.Log)
	wrong.streams(cfg.NATS.Streams)
	return cfg, wrong.err()
}

// withoutNATS lets a relay whose sink is a webhook do without the address of
// NATS. What is wrong with its file is said later.
func withoutNATS(from envconfig.Lookuper) envconfig.Lookuper {
	file, _ := from.Lookup("RELAY_SEQUIN_FILE")
	if needed, err := (relay.Config{File: file}).NeedsNATS(); needed || err != nil {
		return from
	}
	return envconfig.MultiLookuper(from, envconfig.MapLookuper(map[string]string{"NATS_URL": ""}))
}

// Relay moves the outbox to JetStream, or to the webhook of the file, until ctx
// ends.
func Relay(ctx context.Context, cfg RelayConfig, log zerolog.Logger) error {
	page, shutdown, err := telemetry.Meters()
	if err != nil {
		return err
	}
	defer func() { _ = shutdown(context.WithoutCancel(ctx)) }()
	nc, err := connectRelay(cfg, log)
	if err != nil {
		return err
	}
	if nc != nil {
		defer nc.Close()
	}
	r, err := relay.New(cfg.Relay, nc, log)
	if err != nil {
		return err
	}
	server := api.New(api.Config{Addr: cfg.HTTPAddr}, page, log, api.Check{Name: "relay", Do: func(context.Context) string { return r.Ready() }})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return r.Run(ctx) })
	return g.Wait()
}

// connectRelay gives nil where the sink is a webhook.
func connectRelay(cfg RelayConfig, log zerolog.Logger) (*nats.Conn, error) {
	if needed, err := cfg.Relay.NeedsNATS(); err != nil || !needed {
		return nil, err
	}
	nc, _, err := connect(cfg.NATS, "relay", log)
	return nc, err
}
