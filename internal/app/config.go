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
	"reflect"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/bridge"
	"github.com/finnest/event-runtime/internal/consumer"
	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/intake"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/sweep"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/sethvargo/go-envconfig"
)

// Config is everything `serve` reads from its environment; each part owns its
// own. docs/configuration.md lists all of it.
type Config struct {
	DatabaseURL    string                    `env:"DATABASE_URL, required"`             // as runtime_worker; passwords by passfile=
	MaintenanceURL string                    `env:"MAINTENANCE_DATABASE_URL"`           // as runtime_maintenance; without it this process makes no partitions
	ProducerURL    string                    `env:"PRODUCER_DATABASE_URL"`              // as runtime_producer; without it this process takes no events over HTTP
	StandbyURLs    []string                  `env:"STANDBY_DATABASE_URLS, delimiter=;"` // as runtime_worker, one for each server that may be promoted
	DatabaseConns  int32                     `env:"DATABASE_CONNS, default=16"`
	Instance       string                    `env:"INSTANCE"`                 // owner of leases; default host name and process id
	LeaseTTL       time.Duration             `env:"LEASE_TTL, default=10s"`   // how long a killed process keeps what it worked on
	SpoolDir       string                    `env:"SPOOL_DIR, default=spool"` // answers that the database could not take
	Reclassify     consumer.ReclassifyConfig `env:", prefix=RECLASSIFY_"`
	NATS           transport.Config          `env:", prefix=NATS_"`
	Sweeper        SweeperIdentity           `env:", prefix=NATS_SWEEPER_"`
	Consumer       consumer.Config           `env:", prefix=CONSUMER_"`
	Flush          flush.Config              `env:", prefix=FLUSH_"`
	Submit         submit.Timing             `env:", prefix=SUBMIT_"`
	Sweep          sweep.Config              `env:", prefix=SWEEP_"`
	Canary         sweep.CanaryConfig        `env:", prefix=CANARY_"`
	OFB            ofb.Config                `env:", prefix=OFB_"`
	Intake         intake.Config             `env:", prefix=INTAKE_"`
	Bridge         bridge.Config             `env:", prefix=BRIDGE_"`
	HTTP           api.Config                `env:", prefix=HTTP_"`
	Log            telemetry.LogConfig       `env:", prefix=LOG_"`
}

// SweeperIdentity is who publishes again what was lost, where the account lets a
// worker publish no events.
type SweeperIdentity struct {
	Credentials string `env:"CREDENTIALS"` // as NATS_CREDENTIALS; empty: the worker itself publishes
	InboxPrefix string `env:"INBOX_PREFIX"`
}

// Read takes the configuration from variables, and refuses what cannot work.
func Read(ctx context.Context, from envconfig.Lookuper) (Config, error) {
	var cfg Config
	if err := process(ctx, &cfg, from); err != nil {
		return cfg, err
	}
	if cfg.Instance == "" {
		host, _ := os.Hostname()
		cfg.Instance = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	return cfg, cfg.check()
}

// process names the variable that cannot be read: envconfig names the field.
func process(ctx context.Context, into any, from envconfig.Lookuper) error {
	asked := &remembering{Lookuper: from}
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: into, Lookuper: asked}); err != nil {
		return fmt.Errorf("read configuration: %s: %w", asked.last, err)
	}
	return nil
}

// remembering knows which variable was looked up last.
type remembering struct {
	envconfig.Lookuper
	last string
}

func (r *remembering) Lookup(name string) (string, bool) {
	r.last = name
	return r.Lookuper.Lookup(name)
}

func (c Config) check() error {
	var wrong complaints
	wrong.numbers(reflect.ValueOf(c), "")
	wrong.address("DATABASE_URL", c.DatabaseURL)
	if c.MaintenanceURL != "" {
		wrong.address("MAINTENANCE_DATABASE_URL", c.MaintenanceURL)
	}
	if c.ProducerURL != "" {
		wrong.address("PRODUCER_DATABASE_URL", c.ProducerURL)
	}
	for _, url := range c.StandbyURLs {
		wrong.address("STANDBY_DATABASE_URLS", url)
	}
	wrong.refuse(c.Intake.MaxEvents > intake.MostEvents, "INTAKE_MAX_EVENTS", fmt.Sprintf("want 1 to %d", intake.MostEvents))
	wrong.log(c.Log)
	wrong.streams(c.NATS.Streams)
	wrong.refuse(c.Consumer.BatchSize > transport.MaxAckPending/2, "CONSUMER_BATCH_SIZE", "want 1 to 2048")
	wrong.refuse(c.LeaseTTL < time.Second, "LEASE_TTL", "want at least 1s: it is renewed three times in between")
	wrong.refuse(c.DatabaseConns < 4, "DATABASE_CONNS", "want at least 4")
	name, why := c.Bridge.Check()
	wrong.refuse(why != "", "BRIDGE_"+name, why)
	why = c.Submit.Check()
	wrong.refuse(why != "", "SUBMIT_*", why)
	why = ofb.CheckAPIs(c.OFB.APIs)
	wrong.refuse(why != "", "OFB_APIS", why)
	return wrong.err()
}

// complaints are everything that is wrong at once: one start tells all of it.
type complaints []error

func (c *complaints) refuse(bad bool, name, why string) {
	if bad {
		*c = append(*c, fmt.Errorf("%s: %s", name, why))
	}
}

func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	return fmt.Errorf("configuration: %w", errors.Join(c...))
}

// address refuses what pgx cannot read. It does not say what it was given: there
// may be a password in it.
func (c *complaints) address(name, url string) {
	_, err := pgxpool.ParseConfig(url)
	c.refuse(url == "" || err != nil, name, "is not a database address; want one such as postgres://runtime_worker@localhost/runtime")
}

func (c *complaints) streams(l transport.Limits) {
	name, why := l.Check()
	c.refuse(why != "", "NATS_STREAM_"+name, why)
}

func (c *complaints) log(cfg telemetry.LogConfig) {
	_, err := zerolog.ParseLevel(cfg.Level)
	c.refuse(err != nil, "LOG_LEVEL", "want debug, info, warn or error")
	c.refuse(cfg.Format != "json" && cfg.Format != "console", "LOG_FORMAT", "want json or console")
}

// mayBeZero are the numbers that can be turned off.
var mayBeZero = map[string]bool{"CANARY_INTERVAL": true, "CONSUMER_BATCH_WAIT": true, "SUBMIT_ASK_SKEW": true, "SUBMIT_ASK_PERSON_SLACK": true, "SUBMIT_RECORD_RETRY_FOR": true}

// numbers refuses each count and duration that is not positive, under the name
// of its variable.
func (c *complaints) numbers(v reflect.Value, prefix string) {
	for field, value := range v.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch {
		case value.Kind() == reflect.Struct:
			_, below, _ := strings.Cut(options, "prefix=")
			c.numbers(value, prefix+below)
		case value.Kind() == reflect.Slice && value.Type().Elem() == reflect.TypeFor[time.Duration]():
			for _, d := range value.Interface().([]time.Duration) {
				c.refuse(d <= 0, prefix+name, "must be positive")
			}
		case value.CanInt() && mayBeZero[prefix+name]:
			c.refuse(value.Int() < 0, prefix+name, "must not be negative")
		case value.CanInt():
			c.refuse(value.Int() <= 0, prefix+name, "must be positive")
		}
	}
}
