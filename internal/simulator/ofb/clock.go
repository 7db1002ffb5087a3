package ofb

import (
	"sync/atomic"
	"time"
)

// clock is the regulator's time: the machine's or an injected one, moved by an offset.
type clock struct {
	source   func() time.Time
	injected bool // nobody knows when an injected clock moves, so no timer may wait for it
	offset   atomic.Int64
}

func newClock(source func() time.Time) *clock {
	if source == nil {
		return &clock{source: time.Now}
	}
	return &clock{source: source, injected: true}
}

func (c *clock) now() time.Time {
	return c.source().Add(time.Duration(c.offset.Load())).UTC()
}

func (c *clock) move(offset time.Duration) { c.offset.Store(int64(offset)) }

func (c *clock) moved() time.Duration { return time.Duration(c.offset.Load()) }

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText writes d as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "250ms", "-1h".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
