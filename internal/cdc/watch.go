package cdc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

const (
	lookEvery  = 5 * time.Second
	lookWithin = 10 * time.Second
)

// Deps are what a Watch works with.
type Deps struct {
	Pool     *pgxpool.Pool   // as runtime_worker
	Standbys []*pgxpool.Pool // the servers that may be promoted, where it is known which
	Slot     string
	Now      func() time.Time // the sweeper's clock: its marks are compared with losses
	Log      zerolog.Logger
}

// Watch looks at the slot and brings recoveries to their end. It makes no slot:
// the relay does, as a role that may. One process at a time runs it.
type Watch struct {
	Deps
	metrics *metrics

	unfit  atomic.Pointer[string] // why the server must not be left like this
	state  State                  // owned by Run, like all below
	failed bool
	found  int64 // the loss that was told last
}

// NewWatch prepares a Watch; Run starts it.
func NewWatch(deps Deps) (*Watch, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Watch{Deps: deps, metrics: m}, nil
}

// Ready says what about the server must not be left as it is, or "".
func (w *Watch) Ready() string {
	if why := w.unfit.Load(); why != nil {
		return *why
	}
	return ""
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	stop, err := w.metrics.export()
	if err != nil {
		return err
	}
	defer stop()
	defer w.unfit.Store(nil) // whoever leads next says it
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		err := w.look(ctx)
		if err != nil {
			w.metrics.sight.Store(nil) // what nobody sees any more is not how it is
		}
		if err != nil && ctx.Err() == nil && !w.failed { // once per cause: it is tried again
			w.Log.Warn().Str("event", "slot.watch_failed").Err(err).Send()
		}
		w.failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watch) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	known, now, err := Ask(ctx, w.Pool, w.Slot)
	if err != nil {
		return err
	}
	if err := w.measure(ctx, now); err != nil {
		return err
	}
	w.limit(now)
	if err := w.note(ctx, known, now, Judge(known, now)); err != nil {
		return err
	}
	return w.finish(ctx)
}

// limit complains about a server whose disk one slot can fill.
func (w *Watch) limit(now Seen) {
	why := Unbounded(now)
	if why == "" {
		w.unfit.Store(nil)
		return
	}
	if w.unfit.Swap(&why) == nil {
		w.Log.Error().Str("event", "slot.unbounded").Str("hint", why).Send()
	}
}

// Unbounded says what to do about a server without a limit, or "".
func Unbounded(now Seen) string {
	if now.Limit >= 0 {
		return ""
	}
	return "max_slot_wal_keep_size is -1: a slot that nobody reads fills the disk; ALTER SYSTEM SET max_slot_wal_keep_size = '64GB' (the log of the longest outage, below 60 % of its volume), then SELECT pg_reload_conf()"
}

// note writes down what was seen.
func (w *Watch) note(ctx context.Context, known *Known, now Seen, state State) error {
	changed := state != w.state
	w.state = state
	switch {
	case state == Alive:
		return w.alive(ctx, now)
	case state.Lost():
		return w.lost(ctx, known, now, state)
	case changed && (state == Absent || state == Foreign):
		w.Log.Error().Str("event", "slot.unusable").Str("slot", w.Slot).Str("state", string(state)).
			Str("hint", "run `event-runtime migrate`, which makes the slot; one of another plugin or database is dropped first, by whoever owns it").Send()
	}
	return nil
}

// The sweeper's marks and what it has published, as of a moment at which the slot
// was alive: a loss begins from there.
const sqlAlive = `
INSERT INTO event_runtime.cdc_slots AS s (slot_name, system_id, timeline, confirmed_lsn, seen_at, clean_until, swept_since, swept_rows)
SELECT @slot, @system, @timeline, '0/0'::pg_lsn + @confirmed::numeric, clock_timestamp(), (SELECT min(swept_until) FROM event_runtime.sweep_marks), @since,
       (SELECT coalesce(sum(swept), 0) FROM event_runtime.books WHERE day >= @since)
ON CONFLICT (slot_name) DO UPDATE
   SET confirmed_lsn = excluded.confirmed_lsn, seen_at = excluded.seen_at, clean_until = excluded.clean_until,
       swept_since = excluded.swept_since, swept_rows = excluded.swept_rows
 WHERE s.system_id = excluded.system_id AND s.timeline = excluded.timeline`

// sweptDays are the days whose events a sweep may still publish.
const sweptDays = 16

func (w *Watch) alive(ctx context.Context, now Seen) error {
	open, err := OpenLoss(ctx, w.Pool, w.Slot)
	if err != nil {
		return err
	}
	if open != nil { // somebody has made the slot anew, and did not say so
		return w.renew(ctx, now)
	}
	_, err = w.Pool.Exec(ctx, sqlAlive, pgx.NamedArgs{"slot": w.Slot, "system": now.SystemID, "timeline": now.Timeline, "confirmed": now.Confirmed,
		"since": w.Now().UTC().AddDate(0, 0, -sweptDays).Truncate(24 * time.Hour)})
	if err != nil {
		return fmt.Errorf("write down that the slot is alive: %w", err)
	}
	return nil
}

func (w *Watch) renew(ctx context.Context, now Seen) error {
	return pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error { return Renew(ctx, tx, w.Slot, now, ByLeader) })
}

func (w *Watch) lost(ctx context.Context, known *Known, now Seen, state State) error {
	if known == nil { // it was dead when we first looked: nobody knows since when
		known = &Known{SystemID: now.SystemID, Timeline: now.Timeline}
		if _, err := w.Pool.Exec(ctx, sqlAlive, pgx.NamedArgs{"slot": w.Slot, "system": now.SystemID, "timeline": now.Timeline, "confirmed": now.Confirmed,
			"since": w.Now().UTC().AddDate(0, 0, -sweptDays).Truncate(24 * time.Hour)}); err != nil {
			return fmt.Errorf("write down the dead slot: %w", err)
		}
	}
	loss, err := Open(ctx, w.Pool, w.Slot, state, Promoted(known, now), ByLeader)
	if err != nil || loss == nil {
		return err
	}
	if loss.ID != w.found {
		w.found = loss.ID
		w.Log.Error().Str("event", "slot.lost").Str("slot", w.Slot).Str("cause", string(loss.Cause)).Bool("promoted", loss.Promoted).Str("invalidation", now.Invalidation).
			Str("hint", "the relay makes it anew, and the sweeper publishes what was lost; nothing to do unless this stays").Send()
	}
	if state == Replaced || state == Survived { // it is there already
		return w.renew(ctx, now)
	}
	return nil
}
