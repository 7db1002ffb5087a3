package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/jackc/pgx/v5"
)

// Whoever holds the mark works on the page behind it.
const sqlHoldMark = `
SELECT round, day, tenant_id, event_id, looked, accepted, set_aside, too_old
  FROM event_runtime.reclassify_marks WHERE consumer = @consumer AND edition = @edition AND done_at IS NULL FOR UPDATE`

const sqlMoveMark = `
UPDATE event_runtime.reclassify_marks
   SET day = @day, tenant_id = @tenant_id, event_id = @event_id, done_at = @done_at, looked = @looked, accepted = @accepted, set_aside = @set_aside, too_old = @too_old
 WHERE consumer = @consumer`

// The day's events that were set aside, and still are, with what the outbox says
// about them.
const sqlAsidePage = `
SELECT k.outcome, o.tenant_id, o.event_id, o.ecosystem, o.event_type, o.version, o.occurred_at, coalesce(o.aggregate_type, ''), coalesce(o.aggregate_id, ''), o.aggregate_version,
       coalesce(o.idempotency_key, ''), coalesce(o.correlation_id, ''), coalesce(o.source, ''), o.payload::text
  FROM event_runtime.consumer_idempotency k
  JOIN event_runtime.outbox o ON o.tenant_id = k.tenant_id AND o.recorded_on = k.recorded_on AND o.event_id = k.event_id
 WHERE k.consumer = @consumer AND k.recorded_on = @day AND o.recorded_on = @day AND (k.tenant_id, k.event_id) > (@tenant_id, @event_id::uuid)
   AND k.outcome IN ('ineligible:unlisted_endpoint', 'ineligible:api_not_enabled')
   AND NOT EXISTS (SELECT FROM event_runtime.reclassifications r
                    WHERE r.recorded_on = @day AND r.tenant_id = k.tenant_id AND r.event_id = k.event_id AND r.consumer = k.consumer)
 ORDER BY k.tenant_id, k.event_id LIMIT @page`

const sqlReclassified = `
INSERT INTO event_runtime.reclassifications (tenant_id, recorded_on, event_id, consumer, was, outcome, edition, api, interaction_id, organisation_id, role, reclassified_at)
VALUES (@tenant_id, @recorded_on, @event_id, @consumer, @was, 'accepted', @edition, @api, @interaction_id, @organisation_id, @role, @now)`

// sheet is one page of a round: what was read, and what it came to.
type sheet struct {
	round   int
	day     time.Time
	tenant  string
	last    event.ID
	totals  Round
	edition [32]byte
	now     time.Time

	was  []string   // outcomes, in the order of all
	all  []Decision // about every event of the page
	move []int      // those that are accepted or go before a person now
}

// page looks at the next events of the round, and says when none is left.
func (r *Reclassifier) page(ctx context.Context, edition [32]byte) (total Round, done bool, err error) {
	s := &sheet{edition: edition, now: r.deps.Now()}
	err = pgx.BeginFunc(ctx, r.deps.Pool, func(tx pgx.Tx) error {
		if err := r.hold(ctx, tx, s); err != nil {
			return err
		}
		if err := r.decide(ctx, tx, s); err != nil {
			return err
		}
		if err := r.place(ctx, tx, s); err != nil {
			return err
		}
		if done, err = r.turn(ctx, tx, s); err != nil {
			return err
		}
		if len(s.move) > 0 {
			crash.Point("in_reclassify_page")
		}
		return nil
	})
	if err != nil {
		return s.totals, false, fmt.Errorf("reclassify events of %s: %w", s.day.Format(time.DateOnly), err)
	}
	if len(s.move) > 0 || done {
		r.tell(s, done)
	}
	r.metrics.reclassified(ctx, r.deps.Name, s.all, s.move)
	return s.totals, done, nil
}

func (r *Reclassifier) hold(ctx context.Context, tx pgx.Tx, s *sheet) error {
	err := tx.QueryRow(ctx, sqlHoldMark, pgx.NamedArgs{"consumer": r.deps.Name, "edition": s.edition[:]}).
		Scan(&s.round, &s.day, &s.tenant, &s.last, &s.totals.Looked, &s.totals.Accepted, &s.totals.SetAside, &s.totals.TooOld)
	if errors.Is(err, pgx.ErrNoRows) {
		return submit.ErrMoved
	}
	return err
}

// decide reads a page and decides about each event as if it had just come.
func (r *Reclassifier) decide(ctx context.Context, tx pgx.Tx, s *sheet) error {
	rows, err := tx.Query(ctx, sqlAsidePage, pgx.NamedArgs{"consumer": r.deps.Name, "day": s.day, "tenant_id": s.tenant, "event_id": s.last, "page": r.cfg.Page})
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		e := &event.Envelope{RecordedOn: s.day}
		var was string
		err := row.Scan(&was, &e.TenantID, &e.EventID, &e.Ecosystem, &e.Type, &e.Version, &e.OccurredAt, &e.AggregateType, &e.AggregateID, &e.AggregateVersion,
			&e.IdempotencyKey, &e.CorrelationID, &e.Source, (*[]byte)(&e.Payload))
		s.was, s.all = append(s.was, was), append(s.all, Decision{Event: e})
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	known := Knowledge{Tenants: r.deps.Tenants(), Report: r.deps.Reviser}
	for i, d := range s.all {
		if _, there := known.Tenants.Tenant(d.Event.TenantID); !there {
			continue // it stays what it is: nothing can be reported for nobody
		}
		d = r.ask(d, known)
		s.all[i] = d
		s.totals.Looked++
		switch {
		case d.Reason == Ineligible:
		case d.Reason == Accepted && !d.Report.Final.IsZero() && !s.now.Before(d.Report.Final):
			s.totals.TooOld++
		default:
			s.move = append(s.move, i)
		}
	}
	return nil
}

// ask survives a panic: one event must not end the process whenever it leads. It
// goes before a person.
func (r *Reclassifier) ask(d Decision, known Knowledge) (after Decision) {
	defer func() {
		if recover() != nil { // the cause may hold a value of the event
			r.log.Error().Str("event", "consumer.handler_panicked").Str("tenant_id", d.Event.TenantID).Stringer("event_id", d.Event.EventID).Str("stack", string(debug.Stack())).Send()
			after = d
			after.Reason = HandlerPanic
		}
	}()
	t, _ := known.Tenants.Tenant(d.Event.TenantID)
	return d.reportable(t, known)
}

// place gives each event that moves its row and its place: a lane, or a person.
func (r *Reclassifier) place(ctx context.Context, tx pgx.Tx, s *sheet) error {
	if len(s.move) == 0 {
		return nil
	}
	if err := r.meet(ctx, tx, s); err != nil {
		return err
	}
	corrected, err := r.store.reopen(ctx, tx, s.day)
	if err != nil {
		return err
	}
	var arrivals []submit.Arrival
	counts := map[page]map[Reason]int{}
	var rows pgx.Batch
	for _, i := range s.move {
		d := s.all[i]
		e := d.Event
		args := pgx.NamedArgs{"tenant_id": e.TenantID, "recorded_on": e.RecordedOn, "event_id": e.EventID, "consumer": r.deps.Name, "was": s.was[i], "edition": s.edition[:],
			"api": nil, "interaction_id": nil, "organisation_id": nil, "role": nil, "now": s.now}
		if d.Reason == Accepted {
			s.totals.Accepted++
			args["api"] = d.Report.API
			if !d.Report.InteractionID.IsZero() {
				args["interaction_id"], args["organisation_id"], args["role"] = d.Report.InteractionID, d.Report.Party, d.Report.Role
			}
			arrivals = append(arrivals, submit.Arrival{Tenant: e.TenantID, Ecosystem: e.Ecosystem, EventID: e.EventID, Report: *d.Report, Correction: corrected[s.day.UTC()]})
		} else {
			s.totals.SetAside++
			if _, err := quarantine.Insert(ctx, tx, quarantine.Entry{Stage: quarantine.Submit, Consumer: r.deps.Name, Key: e.EventID.String(), TenantID: e.TenantID,
				EventID: &e.EventID, RecordedOn: &e.RecordedOn, Reason: string(d.Reason), Detail: d.Where}); err != nil {
				return err
			}
		}
		rows.Queue(sqlReclassified, args)
		at := page{e.RecordedOn, e.TenantID}
		if counts[at] == nil {
			counts[at] = map[Reason]int{}
		}
		counts[at][Accepted]++
		counts[at][Ineligible]--
	}
	r.store.count(&rows, counts)
	if err := tx.SendBatch(ctx, &rows).Close(); err != nil {
		return fmt.Errorf("write reclassifications: %w", err)
	}
	if len(arrivals) == 0 {
		return nil
	}
	return submit.AddChunks(ctx, tx, s.now, arrivals)
}

// meet waits until no hand of the same tenants is being closed, and puts events
// whose report key another one has before a person: it has been reported.
func (r *Reclassifier) meet(ctx context.Context, tx pgx.Tx, s *sheet) error {
	tenants, seen := map[string]bool{}, map[reportKey]bool{}
	var keys events
	var interactions, parties []event.ID
	var roles []string
	taken := map[who]bool{}
	for _, i := range s.move {
		d := s.all[i]
		w := who{d.Event.TenantID, d.Event.EventID}
		tenants[w.tenant] = true
		k, has := keyOf(d)
		switch {
		case !has:
		case seen[k]:
			taken[w] = true
		default:
			seen[k] = true
			keys.add(w)
			interactions, parties, roles = append(interactions, k.interaction), append(parties, k.party), append(roles, k.role)
		}
	}
	if _, err := tx.Exec(ctx, sqlClosing, pgx.NamedArgs{"consumer": r.deps.Name, "tenants": slices.Sorted(maps.Keys(tenants))}); err != nil {
		return fmt.Errorf("wait for hands: %w", err)
	}
	rows, err := tx.Query(ctx, sqlTaken, pgx.NamedArgs{"tenants": keys.tenants, "ids": keys.ids, "interactions": interactions, "parties": parties, "roles": roles})
	if err != nil {
		return fmt.Errorf("look for report keys: %w", err)
	}
	var w who
	if _, err := pgx.ForEachRow(rows, []any{&w.tenant, &w.id}, func() error { taken[w] = true; return nil }); err != nil {
		return fmt.Errorf("look for report keys: %w", err)
	}
	for _, i := range s.move {
		if d := &s.all[i]; taken[who{d.Event.TenantID, d.Event.EventID}] {
			d.Reason, d.Where, d.Report = IDReused, "payload.fapiInteractionId", nil
		}
	}
	return nil
}

// turn moves the mark behind the page, and ends the round behind the last day.
func (r *Reclassifier) turn(ctx context.Context, tx pgx.Tx, s *sheet) (done bool, err error) {
	args := pgx.NamedArgs{"consumer": r.deps.Name, "day": s.day, "tenant_id": "", "event_id": event.ID{}, "done_at": nil,
		"looked": s.totals.Looked, "accepted": s.totals.Accepted, "set_aside": s.totals.SetAside, "too_old": s.totals.TooOld}
	if n := len(s.all); n == r.cfg.Page {
		args["tenant_id"], args["event_id"] = s.all[n-1].Event.TenantID, s.all[n-1].Event.EventID
	} else {
		next := s.day.AddDate(0, 0, 1)
		args["day"] = next
		if done = next.After(s.now.Add(time.Hour)); done { // ids are at most 5 minutes ahead
			args["done_at"] = s.now
		}
	}
	if _, err := tx.Exec(ctx, sqlMoveMark, args); err != nil {
		return false, fmt.Errorf("move mark: %w", err)
	}
	if !done || s.totals.Accepted+s.totals.SetAside == 0 {
		return done, nil
	}
	return done, audit.Append(ctx, tx, s.now, audit.Change{Chain: audit.PlatformChain, Actor: "runtime:reclassify", Action: "events.reclassified", Subject: r.deps.Name,
		Payload: map[string]any{"edition": hex.EncodeToString(s.edition[:]), "round": s.round, "looked": s.totals.Looked, "accepted": s.totals.Accepted,
			"set_aside": s.totals.SetAside, "too_old": s.totals.TooOld}})
}

func (r *Reclassifier) tell(s *sheet, done bool) {
	r.log.Info().Str("event", "events.reclassified").Hex("edition", s.edition[:]).Int("round", s.round).Str("day", s.day.Format(time.DateOnly)).Bool("done", done).
		Int64("looked", s.totals.Looked).Int64("accepted", s.totals.Accepted).Int64("set_aside", s.totals.SetAside).Int64("too_old", s.totals.TooOld).Send()
}
