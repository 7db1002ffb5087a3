package consumer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/books"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// quarantined is the books' word for all reasons of quarantine.
const quarantined Reason = "quarantined"

// Whoever closes a hand waits here for whoever closes another one with events of
// the same tenants, until that has committed.
const sqlClosing = `
SELECT pg_advisory_xact_lock(hashtextextended('event_runtime.consumer.' || @consumer || '.' || t, 0)) FROM unnest(@tenants::text[]) AS t`

// What the transaction could not see when it wrote, because another one had not
// committed: that an event of ours was set aside,
const sqlSetAside = `
SELECT EXISTS (SELECT FROM unnest(@tenants::text[], @ids::uuid[]) AS i(tenant_id, event_id)
                 JOIN event_runtime.quarantine q ON q.event_id = i.event_id AND q.tenant_id = i.tenant_id
                WHERE q.stage = 'ingest' AND q.consumer = @consumer AND q.resolution IS DISTINCT FROM 'requeued')`

// or that one which we set aside has a row.
const sqlHasRow = `
SELECT EXISTS (SELECT FROM unnest(@tenants::text[], @days::date[], @ids::uuid[]) AS i(tenant_id, recorded_on, event_id)
                 JOIN event_runtime.consumer_idempotency k
                   ON k.tenant_id = i.tenant_id AND k.recorded_on = i.recorded_on AND k.event_id = i.event_id AND k.consumer = @consumer)`

// A report key knows no day, but a unique key on a table of days does. Joined by
// OR the two looks are no joins, so each key is looked up by index, however large
// the tables are: no plan reads a whole day for it.
const sqlTaken = `
SELECT i.tenant_id, i.event_id
  FROM unnest(@tenants::text[], @ids::uuid[], @interactions::uuid[], @parties::uuid[], @roles::text[]) AS i(tenant_id, event_id, interaction_id, organisation_id, role)
 WHERE EXISTS (SELECT FROM event_runtime.consumer_idempotency k
                WHERE k.interaction_id = i.interaction_id AND k.role = i.role AND k.organisation_id = i.organisation_id AND k.tenant_id = i.tenant_id AND k.event_id <> i.event_id)
    OR EXISTS (SELECT FROM event_runtime.reclassifications r
                WHERE r.interaction_id = i.interaction_id AND r.role = i.role AND r.organisation_id = i.organisation_id AND r.tenant_id = i.tenant_id AND r.event_id <> i.event_id)`

// close writes the books and makes sure that nothing that has committed stands
// against what is about to.
func (s *store) close(ctx context.Context, tx pgx.Tx, met []Decision, pages map[page]map[Reason]int) error {
	var rows, keys, aside events
	var interactions, parties []event.ID
	var roles []string
	tenants := map[string]bool{}
	for _, d := range met {
		w, ok := d.about()
		_, row := d.Row()
		switch {
		case !ok || !row && (!d.Quarantined() || d.Again):
			continue
		case row:
			rows.add(w)
			if k, ok := keyOf(d); ok {
				keys.add(w)
				interactions, parties, roles = append(interactions, k.interaction), append(parties, k.party), append(roles, k.role)
			}
		default:
			aside.add(w)
		}
		tenants[w.tenant] = true
	}
	var all pgx.Batch
	var taken []who
	raced := false
	race := func(row pgx.Row) error {
		var yes bool
		err := row.Scan(&yes)
		raced = raced || yes
		return err
	}
	if len(tenants) > 0 {
		all.Queue(sqlClosing, pgx.NamedArgs{"consumer": s.consumer, "tenants": slices.Sorted(maps.Keys(tenants))})
	}
	if len(rows.ids) > 0 {
		all.Queue(sqlSetAside, pgx.NamedArgs{"consumer": s.consumer, "tenants": rows.tenants, "ids": rows.ids}).QueryRow(race)
	}
	if len(aside.ids) > 0 {
		all.Queue(sqlHasRow, pgx.NamedArgs{"consumer": s.consumer, "tenants": aside.tenants, "days": aside.days, "ids": aside.ids}).QueryRow(race)
	}
	if len(keys.ids) > 0 {
		all.Queue(sqlTaken, pgx.NamedArgs{"tenants": keys.tenants, "ids": keys.ids, "interactions": interactions, "parties": parties, "roles": roles}).
			Query(func(rows pgx.Rows) (err error) {
				taken, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w who, err error) { return w, row.Scan(&w.tenant, &w.id) })
				return err
			})
	}
	s.count(&all, pages)
	if all.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &all).Close(); err != nil {
		return fmt.Errorf("close the hand: %w", err)
	}
	switch {
	case raced:
		return errRaced
	case len(taken) > 0:
		return &takenError{taken}
	}
	return nil
}

// fresh are the days that something new in a hand is of.
func fresh(hand []Decision, stored []Stored) (days []time.Time) {
	for i, d := range hand {
		at, ok := pageOf(d)
		if ok && stored[i].Hash == nil && !stored[i].Quarantined && !slices.ContainsFunc(days, at.day.Equal) {
			days = append(days, at.day)
		}
	}
	return days
}

// reopen opens those days again that are closed, and says for which of them what
// comes now is a correction.
func (s *store) reopen(ctx context.Context, tx pgx.Tx, days ...time.Time) (map[time.Time]bool, error) {
	days = slices.DeleteFunc(days, func(day time.Time) bool { return s.now().Before(day.Add(24 * time.Hour).Add(books.OpenFor)) })
	if len(days) == 0 {
		return nil, nil
	}
	return books.Reopen(ctx, tx, days, s.now(), "runtime:"+s.consumer)
}

const sqlCount = `
INSERT INTO event_runtime.books AS b (day, tenant_id, consumer, accepted, ineligible, canary, quarantined, duplicates, conflicts)
VALUES (@day, @tenant_id, @consumer, @accepted, @ineligible, @canary, @quarantined, @duplicates, @conflicts)
ON CONFLICT (day, tenant_id, consumer) DO UPDATE
   SET accepted = b.accepted + excluded.accepted, ineligible = b.ineligible + excluded.ineligible, canary = b.canary + excluded.canary,
       quarantined = b.quarantined + excluded.quarantined, duplicates = b.duplicates + excluded.duplicates, conflicts = b.conflicts + excluded.conflicts`

// page is a tenant's day. What cannot be read has no page: it is no outbox row.
type page struct {
	day    time.Time
	tenant string
}

func pageOf(d Decision) (page, bool) {
	w, ok := d.about()
	return page{w.id.Day(), w.tenant}, ok
}

// count adds to the books, page by page in one order, so that two workers never
// wait for each other.
func (s *store) count(all *pgx.Batch, pages map[page]map[Reason]int) {
	for _, p := range slices.SortedFunc(maps.Keys(pages), func(a, b page) int {
		return cmp.Or(a.day.Compare(b.day), strings.Compare(a.tenant, b.tenant))
	}) {
		n := pages[p]
		all.Queue(sqlCount, pgx.NamedArgs{"day": p.day, "tenant_id": p.tenant, "consumer": s.consumer, "accepted": n[Accepted], "ineligible": n[Ineligible],
			"canary": n[Canary], "quarantined": n[quarantined], "duplicates": n[Duplicate], "conflicts": n[Conflict]})
	}
}
