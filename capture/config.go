package capture

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/rs/zerolog"
)

// Config is whose calls are recorded, and what happens while Postgres is away.
// Zero durations and sizes mean their defaults.
type Config struct {
	TenantID  string // as in outbox.Event
	Ecosystem string // ofb or opin
	Source    string // names this program in the outbox; optional

	Durability Durability // what a committed row outlives; Durable

	Wait      time.Duration // how long an answer may be held for its row; 250 ms
	RetryFor  time.Duration // how long an event is tried again before it is lost; 10 min
	QueueSize int           // events that may wait for that; 10,000, and never more than 64 MiB
	Writers   int           // connections used for first attempts; 8, and one while commits are quick. The background uses two more

	Log zerolog.Logger
}

const (
	defaultWait      = 250 * time.Millisecond
	defaultRetryFor  = 10 * time.Minute
	defaultQueueSize = 10_000
	defaultWriters   = 8

	// An event's id must be younger than 24 h when it is appended.
	longestRetry = 12 * time.Hour
)

// complete fills in the defaults and refuses what could never be recorded: a
// misspelt tenant must show at the start, not in the first lost call.
func (c Config) complete() (Config, error) {
	c.Durability = cmp.Or(c.Durability, Durable)
	c.Wait = cmp.Or(c.Wait, defaultWait)
	c.RetryFor = cmp.Or(c.RetryFor, defaultRetryFor)
	c.QueueSize = cmp.Or(c.QueueSize, defaultQueueSize)
	c.Writers = cmp.Or(c.Writers, defaultWriters)
	_, personal := denylist.Find(c.Source)
	var errs []error
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{!event.ValidTenant(c.TenantID) || c.TenantID == event.PlatformTenant, "TenantID must match ^[a-z0-9][a-z0-9-]{0,39}$ and not be reserved"},
		{c.Ecosystem != event.OFB && c.Ecosystem != event.OPIN, "Ecosystem must be ofb or opin"},
		{personal || len(c.Source) > 200, "Source must be a short name without personal data"},
		{c.Durability.commitMode() == "", "Durability must be durable, replicated or relaxed"},
		{c.Wait < 0 || c.Wait > time.Minute, "Wait must be between 0 and 1m"},
		{c.RetryFor < 0 || c.RetryFor > longestRetry, "RetryFor must be between 0 and 12h"},
		{c.QueueSize < 0, "QueueSize must not be negative"},
		{c.Writers < 0, "Writers must not be negative"},
	} {
		if rule.broken {
			errs = append(errs, errors.New(rule.text))
		}
	}
	if len(errs) > 0 {
		return c, fmt.Errorf("capture: %w", errors.Join(errs...))
	}
	return c, nil
}
