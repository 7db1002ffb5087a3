// Package app assembles the parts into a process.
//
// Promise: when Run returns, nothing of it is left running; what was in hand is
//
//	finished or given back.
//
// State:   none of its own.
// Failure: a part that ends with an error ends the process; its supervisor
//
//	starts another.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/sethvargo/go-envconfig"
)

// Config is everything `serve` reads from its environment; each part owns its
// own. docs/configuration.md lists all of it.
type Config struct {
	DatabaseURL    string              `env:"DATABASE_URL, required"`   // as runtime_worker; passwords by passfile=
	MaintenanceURL string              `env:"MAINTENANCE_DATABASE_URL"` // as runtime_maintenance; without it this process makes no partitions
	DatabaseConns  int32               `env:"DATABASE_CONNS, default=16"`
	Instance       string              `env:"INSTANCE"`                 // owner of leases; default host name and process id
	LeaseTTL       time.Duration       `env:"LEASE_TTL, default=10s"`   // how long a killed process keeps what it worked on
	SpoolDir       string              `env:"SPOOL_DIR, default=spool"` // answers that the database could not take
	NATS           transport.Config    `env:", prefix=NATS_"`
	Consumer       consumer.Config     `env:", prefix=CONSUMER_"`
	Flush          flush.Config        `env:", prefix=FLUSH_"`
	Submit         submit.Timing       `env:", prefix=SUBMIT_"`
	OFB            ofb.Config          `env:", prefix=OFB_"`
	HTTP           api.Config          `env:", prefix=HTTP_"`
	Log            telemetry.LogConfig `env:", prefix=LOG_"`
}

// Read takes the configuration from variables, and refuses what cannot work.
func Read(ctx context.Context, from envconfig.Lookuper) (Config, error) {
	var cfg Config
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &cfg, Lookuper: from}); err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	if cfg.Instance == "" {
		host, _ := os.Hostname()
		cfg.Instance = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	return cfg, cfg.check()
}

func (c Config) check() error {
	var wrong []error
	refuse := func(bad bool, name, why string) {
		if bad {
			wrong = append(wrong, fmt.Errorf("%s: %s", name, why))
		}
	}
	refuse(c.Consumer.BatchSize < 1 || c.Consumer.BatchSize > transport.MaxAckPending/2, "CONSUMER_BATCH_SIZE", "want 1 to 2048")
	refuse(c.Consumer.BatchWait < 0 || c.Consumer.DrainFor <= 0 || c.Consumer.SilentFor <= 0 || c.Consumer.AwayPause <= 0 || c.Consumer.NakWithin <= 0, "CONSUMER_*", "durations must be positive")
	refuse(c.Flush.Parallel < 1, "FLUSH_PARALLEL", "want at least 1")
	refuse(c.Flush.Poll <= 0, "FLUSH_POLL", "must be positive")
	refuse(c.LeaseTTL < time.Second, "LEASE_TTL", "want at least 1s: it is renewed three times in between")
	refuse(c.DatabaseConns < 4, "DATABASE_CONNS", "want at least 4")
	refuse(c.Log.Format != "json" && c.Log.Format != "console", "LOG_FORMAT", "want json or console")
	if why := c.Submit.Check(); why != "" {
		wrong = append(wrong, errors.New("SUBMIT_*: "+why))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("configuration: %w", errors.Join(wrong...))
	}
	return nil
}
