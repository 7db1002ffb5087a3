package app

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
)

// ProvisionConfig is everything `nats provision` reads from its environment; the
// names are those of `serve`.
type ProvisionConfig struct {
	DatabaseURL string              `env:"DATABASE_URL, required"` // as runtime_worker: since when events are owed is a row
	NATS        transport.Config    `env:", prefix=NATS_"`
	Log         telemetry.LogConfig `env:", prefix=LOG_"`
}

// ReadProvision takes it from variables.
func ReadProvision(ctx context.Context, from envconfig.Lookuper) (cfg ProvisionConfig, err error) {
	if err := process(ctx, &cfg, from); err != nil {
		return cfg, err
	}
	var wrong complaints
	wrong.numbers(reflect.ValueOf(cfg), "")
	wrong.address("DATABASE_URL", cfg.DatabaseURL)
	wrong.log(cfg.Log)
	wrong.streams(cfg.NATS.Streams)
	return cfg, wrong.err()
}

// Provision makes streams and consumers that are missing, with an identity of its
// own that may; and says what is weaker than it must be. It tries until ctx ends:
// a cluster has no leader at first, and a server may not have joined yet.
func Provision(ctx context.Context, cfg ProvisionConfig, log zerolog.Logger) (drift []string, err error) {
	pool, err := Pool(ctx, cfg.DatabaseURL, 1)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	nc, js, err := connect(cfg.NATS, "provisioning", log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	var last error
	err = until(ctx, log, "wait.nats", func(ctx context.Context) error {
		last = transport.Provision(ctx, js, pool, cfg.NATS.Streams, time.Now())
		if last == nil {
			drift, last = transport.Drift(ctx, js, cfg.NATS.Streams)
		}
		return last
	})
	if err != nil {
		return nil, fmt.Errorf("provision: %w; the last try: %w", err, last)
	}
	return drift, nil
}
