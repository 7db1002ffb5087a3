package consumer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// meet inserts the consumer rows and finds out what stood in the way of the
// rest, as if the messages had come one by one: a copy of an event, or another
// event with the same report key, sees what became of the one before it. What
// repeats nothing is one round, whatever its size.
func (s *store) meet(ctx context.Context, tx pgx.Tx, hand []Decision, refused map[who]bool) ([]Stored, error) {
	m := meeting{hand: hand, stored: make([]Stored, len(hand)), known: map[who]Stored{}, taken: map[reportKey]bool{}, refused: refused}
	for i, d := range hand {
		if _, ok := d.about(); ok {
			m.open = append(m.open, i)
		}
	}
	for len(m.open) > 0 {
		round := m.round()
		if err := s.insert(ctx, tx, hand, slices.DeleteFunc(slices.Clone(round), m.hopeless), m.stored); err != nil {
			return nil, err
		}
		if err := s.look(ctx, tx, hand, round, m.stored); err != nil {
			return nil, err
		}
		m.learn(round)
	}
	return m.stored, nil
}

// meeting is a hand on its way into the consumer rows.
type meeting struct {
	hand   []Decision
	stored []Stored
	open   []int              // not met yet, in order
	known  map[who]Stored     // what a further copy of an event comes upon
	taken  map[reportKey]bool // keys that have a row, of whichever event

	refused map[who]bool // events whose key is another's
}

// hopeless reports an event that can have no new row: its key is taken, or it is
// no row at all.
func (m *meeting) hopeless(i int) bool {
	d := m.hand[i]
	_, row := d.Row()
	w, _ := d.about()
	k, has := keyOf(d)
	return !row || m.refused[w] || has && m.taken[k]
}

// round takes what the database can be asked about at once: one copy of an
// event, and one event of a report key that may be free.
func (m *meeting) round() (now []int) {
	var later []int
	waits, keys := map[who]bool{}, map[reportKey]bool{}
	for _, i := range m.open {
		w, _ := m.hand[i].about()
		if met, ok := m.known[w]; ok {
			m.stored[i] = met
			continue
		}
		k, has := keyOf(m.hand[i])
		has = has && !m.taken[k]
		if waits[w] || has && keys[k] {
			waits[w] = true
			later = append(later, i)
			continue
		}
		waits[w] = true
		if has {
			keys[k] = true
		}
		now = append(now, i)
	}
	m.open = later
	return now
}

// learn keeps what later copies of a round's events come upon.
func (m *meeting) learn(round []int) {
	for _, i := range round {
		d, s := m.hand[i], m.stored[i]
		w, _ := d.about()
		k, has := keyOf(d)
		switch {
		case s.Inserted:
			hash := d.Hash
			m.known[w] = Stored{Hash: &hash}
		case s.Hash != nil:
			m.known[w] = Stored{Hash: s.Hash}
			continue
		default: // it is in quarantine, or goes there now
			m.known[w] = Stored{Quarantined: true}
		}
		if has && (s.Inserted || s.KeyTaken) {
			m.taken[k] = true
		}
	}
}

type reportKey struct {
	tenant             string
	interaction, party event.ID
	role               string
}

func keyOf(d Decision) (reportKey, bool) {
	if d.Report == nil || d.Report.InteractionID.IsZero() {
		return reportKey{}, false
	}
	return reportKey{d.Event.TenantID, d.Report.InteractionID, d.Report.Party, d.Report.Role}, true
}

// An event that was set aside before gets no row, nor does one of a report key
// that another event of its day has. What commits meanwhile, and what other days
// have, is looked for when the hand is closed: there, nothing can come between.
const sqlInsert = `
INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash, api, interaction_id, organisation_id, role)
SELECT i.tenant_id, i.recorded_on, i.event_id, @consumer, i.outcome, i.payload_hash, i.api, i.interaction_id, i.organisation_id, i.role
  FROM unnest(@tenant_id::text[], @recorded_on::date[], @event_id::uuid[], @outcome::text[], @payload_hash::bytea[], @api::text[], @interaction_id::uuid[], @organisation_id::uuid[], @role::text[])
    AS i(tenant_id, recorded_on, event_id, outcome, payload_hash, api, interaction_id, organisation_id, role)
 WHERE NOT EXISTS (SELECT FROM event_runtime.quarantine q
                    WHERE q.event_id = i.event_id AND q.tenant_id = i.tenant_id AND q.stage = 'ingest' AND q.consumer = @consumer AND q.resolution IS DISTINCT FROM 'requeued')
 ORDER BY i.event_id
ON CONFLICT DO NOTHING
RETURNING tenant_id, event_id`

// insert makes rows, where nothing stands in their way.
func (s *store) insert(ctx context.Context, tx pgx.Tx, hand []Decision, those []int, stored []Stored) error {
	var tenants, outcomes []string
	var days []time.Time
	var ids []event.ID
	var hashes [][]byte
	var apis, roles []*string
	var interactions, parties []*event.ID
	at := map[who]int{}
	for _, i := range those {
		d := &hand[i]
		outcome, _ := d.Row()
		at[who{d.Event.TenantID, d.Event.EventID}] = i
		tenants, days, ids = append(tenants, d.Event.TenantID), append(days, d.Event.RecordedOn), append(ids, d.Event.EventID)
		outcomes, hashes = append(outcomes, outcome), append(hashes, d.Hash[:])
		var api, role *string
		var interaction, party *event.ID
		if r := d.Report; r != nil {
			api = &r.API
			if !r.InteractionID.IsZero() {
				interaction, party, role = &r.InteractionID, &r.Party, &r.Role
			}
		}
		apis, roles = append(apis, api), append(roles, role)
		interactions, parties = append(interactions, interaction), append(parties, party)
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, sqlInsert, pgx.NamedArgs{"consumer": s.consumer, "tenant_id": tenants, "recorded_on": days, "event_id": ids, "outcome": outcomes,
		"payload_hash": hashes, "api": apis, "interaction_id": interactions, "organisation_id": parties, "role": roles})
	if err != nil {
		return fmt.Errorf("insert consumer rows: %w", err)
	}
	var w who
	_, err = pgx.ForEachRow(rows, []any{&w.tenant, &w.id}, func() error { stored[at[w]].Inserted = true; return nil })
	if err != nil {
		return fmt.Errorf("insert consumer rows: %w", err)
	}
	return nil
}

const sqlLook = `
SELECT l.tenant_id, l.event_id, k.payload_hash,
       EXISTS (SELECT FROM event_runtime.quarantine q
                WHERE q.event_id = l.event_id AND q.tenant_id = l.tenant_id AND q.stage = 'ingest' AND q.consumer = @consumer AND q.resolution IS DISTINCT FROM 'requeued')
  FROM unnest(@tenant_id::text[], @recorded_on::date[], @event_id::uuid[]) AS l(tenant_id, recorded_on, event_id)
  LEFT JOIN event_runtime.consumer_idempotency k
    ON k.tenant_id = l.tenant_id AND k.recorded_on = l.recorded_on AND k.event_id = l.event_id AND k.consumer = @consumer`

// look finds what stood in the way of a round's events.
func (s *store) look(ctx context.Context, tx pgx.Tx, hand []Decision, round []int, stored []Stored) error {
	var those events
	at := map[who]int{}
	for _, i := range round {
		if !stored[i].Inserted {
			w, _ := hand[i].about()
			those.add(w)
			at[w] = i
		}
	}
	if len(those.ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, sqlLook, pgx.NamedArgs{"consumer": s.consumer, "tenant_id": those.tenants, "recorded_on": those.days, "event_id": those.ids})
	if err != nil {
		return fmt.Errorf("look up consumer rows: %w", err)
	}
	var w who
	var hash []byte
	var quarantined bool
	_, err = pgx.ForEachRow(rows, []any{&w.tenant, &w.id, &hash, &quarantined}, func() error {
		i := at[w]
		if len(hash) == sha256.Size {
			h := [32]byte(hash)
			stored[i].Hash = &h
		}
		_, row := hand[i].Row()
		stored[i].Quarantined = quarantined
		// Nothing of its own stands in the way: then it is another event's report key.
		stored[i].KeyTaken = row && hash == nil && !quarantined
		return nil
	})
	if err != nil {
		return fmt.Errorf("look up consumer rows: %w", err)
	}
	return nil
}

// events are primary keys turned on their side.
type events struct {
	tenants []string
	days    []time.Time
	ids     []event.ID
}

func (e *events) add(w who) {
	e.tenants, e.days, e.ids = append(e.tenants, w.tenant), append(e.days, w.id.Day()), append(e.ids, w.id)
}
