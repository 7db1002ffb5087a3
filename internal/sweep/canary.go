package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// CanaryConfig is how often a heartbeat is sent.
type CanaryConfig struct {
	Interval time.Duration `env:"INTERVAL, default=1m"` // 0: none
}

// looks is how often the newest heartbeat is looked for between two of them.
const looks = 6

// Canary sends one event per ecosystem and interval along the whole way, and says
// how old the newest is that arrived. One process at a time runs it.
type Canary struct {
	Pool     *pgxpool.Pool // as runtime_worker
	Now      func() time.Time
	Log      zerolog.Logger
	Interval time.Duration

	mu      sync.Mutex
	sent    time.Time            // owned by Run
	arrived map[string]time.Time // by ecosystem, guarded by mu
}

// An ecosystem whose interactions nobody is entitled to yet gets its heartbeat as
// far as the stream.
func ecosystems() []string { return []string{"ofb", "opin"} }

// Run sends and looks until ctx ends.
func (c *Canary) Run(ctx context.Context) error {
	stop, err := c.export()
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(max(c.Interval/looks, time.Millisecond))
	defer tick.Stop()
	for {
		if err := errors.Join(c.beat(ctx), c.Look(ctx)); err != nil && ctx.Err() == nil {
			c.Log.Warn().Str("event", "canary.failed").Err(err).Send()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// beat sends when it is time.
func (c *Canary) beat(ctx context.Context) error {
	now := c.Now()
	if now.Sub(c.sent) < c.Interval {
		return nil
	}
	if err := c.Send(ctx); err != nil {
		return err
	}
	c.sent = now
	return nil
}

const sqlAppend = `SELECT event_runtime.append_canary(@id, @ecosystem, @now)`

// Send appends one heartbeat per ecosystem.
func (c *Canary) Send(ctx context.Context) error {
	now := c.Now()
	for _, ecosystem := range ecosystems() {
		if _, err := c.Pool.Exec(ctx, sqlAppend, pgx.NamedArgs{"id": event.NewID(now), "ecosystem": ecosystem, "now": now}); err != nil {
			return fmt.Errorf("append canary: %w", err)
		}
	}
	return nil
}

// By the key of the table, from the newest on; the tenant has few rows a day.
const sqlNewest = `
SELECT event_id FROM event_runtime.consumer_idempotency
 WHERE tenant_id = 'platform' AND recorded_on = any(@days::date[]) AND consumer = @consumer AND outcome = 'canary'
 ORDER BY recorded_on DESC, event_id DESC LIMIT 1`

// Look finds the newest heartbeat that has arrived. One that never did counts
// from the first look on.
func (c *Canary) Look(ctx context.Context) error {
	today := c.Now().UTC().Truncate(day)
	for _, e := range transport.Entitlements() {
		if e.Family != event.InteractionFamily {
			continue
		}
		var id event.ID
		err := c.Pool.QueryRow(ctx, sqlNewest, pgx.NamedArgs{"consumer": e.Consumer, "days": []time.Time{today, today.Add(-day)}}).Scan(&id)
		switch {
		case err == nil:
			c.saw(e.Ecosystem, id.Time())
		case errors.Is(err, pgx.ErrNoRows):
			c.saw(e.Ecosystem, time.Time{})
		default:
			return fmt.Errorf("look for the canary: %w", err)
		}
	}
	return nil
}

func (c *Canary) saw(ecosystem string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arrived == nil {
		c.arrived = map[string]time.Time{}
	}
	if c.arrived[ecosystem].IsZero() && at.IsZero() {
		at = c.Now()
	}
	if at.After(c.arrived[ecosystem]) {
		c.arrived[ecosystem] = at
	}
}

// Ages gives the age of the newest heartbeat that arrived, by ecosystem.
func (c *Canary) Ages() map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	ages := map[string]time.Duration{}
	for ecosystem, at := range c.arrived {
		ages[ecosystem] = c.Now().Sub(at)
	}
	return ages
}

func (c *Canary) export() (stop func(), err error) {
	meter := otel.Meter("event-runtime/sweep")
	age, e0 := meter.Float64ObservableGauge("event_runtime_canary_age_seconds", metric.WithUnit("s"), metric.WithDescription("Age of the newest heartbeat that arrived."))
	registration, e1 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for ecosystem, is := range c.Ages() {
			o.ObserveFloat64(age, is.Seconds(), metric.WithAttributes(attribute.String("ecosystem", ecosystem)))
		}
		return nil
	}, age)
	if err := errors.Join(e0, e1); err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}
