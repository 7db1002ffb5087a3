package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/cdc"
	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
)

// makeWithin bounds the making of a slot, which waits for every transaction that
// is open: given up early and begun again it might never end.
const makeWithin = 10 * time.Minute

// lostSlot is a slot that was known and is gone.
type lostSlot struct{ state cdc.State }

func (l *lostSlot) Error() string { return "the slot is " + string(l.state) }

func (l *lostSlot) kind() kind {
	if l.state == cdc.Invalidated {
		return lostKnown(slotLost.code, slotLost.reason)
	}
	return lostKnown(slotMissing.code, slotMissing.reason)
}

// settleSlot returns when there is a slot to read from. One that was lost is
// written down first, and told; the next call makes another, then events flow
// again, and what was in between is swept.
func (r *Relay) settleSlot(ctx context.Context, s *side) error {
	known, now, err := s.ask(ctx)
	remembers := !errors.Is(err, cdc.ErrNoMemory)
	if err != nil && remembers {
		return err
	}
	r.checkLimit(now)
	state := cdc.Judge(known, now)
	switch {
	case state == cdc.Alive && known == nil || state == cdc.Alive && !remembers, state == cdc.Waiting:
		// A standby refuses to stream, and says so itself.
	case state == cdc.Alive:
		err = s.renewIfOpen(ctx, now)
	case state == cdc.Making:
		return &fault.Error{Code: slotActive.code, Err: fmt.Errorf("slot %s is being made", s.slot)}
	case state.Lost() && known != nil:
		now, err = r.recover(ctx, s, known, now, state)
	default:
		return s.unknown(now)
	}
	if err != nil && remembers {
		return err
	}
	r.on, r.reach = cdc.Seen{}, 0
	if !remembers {
		return nil
	}
	if r.on = now; state == cdc.Waiting {
		return nil
	}
	if reach, err := s.promise(ctx, now, now.Confirmed); err == nil {
		r.reach = reach // from here on it is known, whatever becomes of us
	}
	return nil
}

// unknown is a slot that cannot be read and that nobody has seen alive: making
// one is a person's business, who may have named another.
func (s *side) unknown(now cdc.Seen) error {
	switch {
	case !now.Exists:
		return &fault.Error{Code: slotMissing.code, Err: fmt.Errorf("slot %s does not exist", s.slot)}
	case now.Dead():
		return &fault.Error{Code: slotLost.code, Err: fmt.Errorf("slot %s is lost", s.slot)}
	default:
		return &fault.Error{Code: slotMissing.code, Err: fmt.Errorf("slot %s is not of plugin pgoutput and this database: drop it first", s.slot)}
	}
}

func (s *side) ask(ctx context.Context) (*cdc.Known, cdc.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return cdc.Ask(ctx, s.conn, s.slot)
}

// checkLimit complains about a server whose disk one slot can fill. Not to read
// would fill it sooner.
func (r *Relay) checkLimit(now cdc.Seen) {
	why := cdc.Unbounded(now)
	if why == "" {
		r.unfit.Store(nil)
		return
	}
	if r.unfit.Swap(&why) == nil {
		r.log.Error().Str("event", "slot.unbounded").Str("hint", why).Send()
	}
}

// renewIfOpen completes what a relay did not live to write down: the slot is
// there, and the loss is open.
func (s *side) renewIfOpen(ctx context.Context, now cdc.Seen) error {
	open, err := cdc.OpenLoss(ctx, s.conn, s.slot)
	if err != nil || open == nil {
		return err
	}
	return s.renew(ctx, now)
}

func (s *side) renew(ctx context.Context, now cdc.Seen) error {
	return pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error { return cdc.Renew(ctx, tx, s.slot, now, cdc.ByRelay) })
}

// recover writes a loss down; on the second call for it, it makes another slot.
// Killed anywhere, the next relay goes on: the row is there before the slot is
// dropped, and a slot that is there already is not made.
func (r *Relay) recover(ctx context.Context, s *side, known *cdc.Known, now cdc.Seen, state cdc.State) (cdc.Seen, error) {
	loss, err := cdc.Open(ctx, s.conn, s.slot, state, cdc.Promoted(known, now), cdc.ByRelay)
	if err != nil {
		return now, err
	}
	if loss != nil && loss.ID != r.told {
		r.told = loss.ID
		return now, &lostSlot{state}
	}
	ctx, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	if state == cdc.Missing || state == cdc.Invalidated {
		if err := r.recreate(ctx, s); err != nil {
			return now, err
		}
	}
	if now, err = cdc.Look(ctx, s.conn, s.slot); err != nil {
		return now, err
	}
	if !now.Exists || now.Dead() || now.Confirmed == 0 {
		return now, &lostSlot{state} // somebody else is at work on it
	}
	if err := s.renew(ctx, now); err != nil {
		return now, err
	}
	r.log.Warn().Str("event", "slot.recreated").Str("cause", string(state)).Uint64("lsn", now.Confirmed).Send()
	return now, nil
}

// One relay at a time; the lock goes with its connection.
const (
	sqlLockSlot   = `SELECT pg_try_advisory_lock(hashtextextended('event_runtime.cdc.' || @slot, 0))`
	sqlUnlockSlot = `SELECT pg_advisory_unlock(hashtextextended('event_runtime.cdc.' || @slot, 0))`
	sqlDropSlot   = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = @slot`
)

func (r *Relay) recreate(ctx context.Context, s *side) error {
	args := pgx.NamedArgs{"slot": s.slot}
	var got bool
	if err := s.conn.QueryRow(ctx, sqlLockSlot, args).Scan(&got); err != nil {
		return fmt.Errorf("lock the making of the slot: %w", err)
	}
	if !got {
		return &fault.Error{Code: slotActive.code, Err: errors.New("another relay makes the slot")}
	}
	defer func() { _, _ = s.conn.Exec(context.WithoutCancel(ctx), sqlUnlockSlot, args) }()
	now, err := cdc.Look(ctx, s.conn, s.slot) // again: another may have made it before we had the lock
	if err != nil {
		return err
	}
	if now.Dead() {
		if _, err := s.conn.Exec(ctx, sqlDropSlot, args); err != nil {
			return fmt.Errorf("drop the lost slot: %w", err)
		}
	}
	crash.Point("in_slot_recreate")
	made, err := migrations.MakeSlot(ctx, s.conn, s.slot)
	if made {
		r.counts.recreated.Add(1)
	}
	return err
}

// promise says how far we may confirm, before we do. When it cannot be written,
// for a full disk perhaps, confirming matters more: it frees the log.
func (s *session) promise(ctx context.Context, lsn uint64) {
	if lsn <= s.reach || s.on.SystemID == "" {
		return
	}
	if reach, err := s.side.promise(ctx, s.on, lsn); err == nil {
		s.reach = reach
	}
}

func (s *side) promise(ctx context.Context, on cdc.Seen, lsn uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), promiseWithin)
	defer cancel()
	return cdc.Promise(ctx, s.conn, s.slot, on, lsn)
}

// promiseWithin is little: it is also said at shutdown.
const promiseWithin = 2 * time.Second
