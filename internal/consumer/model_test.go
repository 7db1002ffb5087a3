package consumer

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// model is what the store is held against: one message after the other, in
// memory. Report keys belong to a tenant.
type model struct {
	rows      map[who][32]byte
	aside     map[who]bool
	place     map[who]string
	keys      map[reportKey]who
	conflicts map[who]map[[32]byte]bool
}

func newModel() *model {
	return &model{map[who][32]byte{}, map[who]bool{}, map[who]string{}, map[reportKey]who{}, map[who]map[[32]byte]bool{}}
}

func (m *model) setAside(w who, why Reason) Reason {
	if m.aside[w] = true; m.place[w] == "" {
		m.place[w] = "quarantine:" + string(why)
	}
	return why
}

func (m *model) meet(d Decision) Reason {
	w, _ := d.about()
	k, _ := keyOf(d)
	hash, has := m.rows[w]
	holder, taken := m.keys[k]
	switch {
	case has && hash == d.sum():
		return Duplicate
	case has:
		if m.conflicts[w] == nil {
			m.conflicts[w] = map[[32]byte]bool{}
		}
		m.conflicts[w][d.sum()] = true
		return Conflict
	case d.Quarantined():
		return m.setAside(w, d.Reason)
	case m.aside[w]:
		return Duplicate
	case d.Reason == Accepted && taken && holder != w:
		return m.setAside(w, IDReused)
	}
	m.rows[w] = d.Hash
	m.place[w], _ = d.Row()
	if d.Reason == Accepted {
		m.keys[k] = w
	}
	return d.Reason
}

// Whatever comes, however often, in whichever hands: the database ends where one
// message after the other would have led.
func TestDedupIsTheModel(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	known := r.known()
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.IntRange(1, 5).Draw(t, "events")
		ids, days, tenants := make([]event.ID, events), []time.Time{yesterday(), time.Now()}, []string{acme, globex}
		for i := range ids {
			ids[i] = event.NewID(rapid.SampledFrom(days).Draw(t, "day"))
		}
		keys := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
		appended := map[who]bool{}
		message := rapid.Custom(func(t *rapid.T) *draft {
			id, tenant := rapid.SampledFrom(ids).Draw(t, "event"), rapid.SampledFrom(tenants).Draw(t, "tenant")
			d := newDraft(of(tenant), interaction(rapid.SampledFrom(keys).Draw(t, "key")), column("occurred_at", "2026-01-01T00:00:00.000000Z"),
				field("timestamp", time.Now().UTC().Truncate(24*time.Hour).Format(time.RFC3339)), func(d *draft) { d.id = id })
			switch rapid.SampledFrom([]string{"", "", "", "other", "broken", "unreadable", "unlisted"}).Draw(t, "variant") {
			case "other":
				field("statusCode", 500)(d)
			case "broken":
				field("statusCode", 5000)(d)
			case "unreadable":
				bytesOf("{")(d)
			case "unlisted":
				field("endpoint", "/internal/health")(d)
			}
			return d
		})
		stream := rapid.SliceOfN(message, 1, 10).Draw(t, "stream")
		want := newModel()
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "hand")
			var hand []Decision
			var fresh []*draft
			for _, d := range stream[:n] {
				decision := Classify(d.delivered(1), known)
				hand = append(hand, decision)
				if w, _ := decision.about(); !appended[w] {
					appended[w] = true
					fresh = append(fresh, d.again(field("statusCode", 200)))
				}
			}
			r.append(fresh...)
			met, err := r.store().persist(r.t.Context(), hand)
			if err != nil {
				t.Fatalf("persist: %v", err)
			}
			for i, d := range hand {
				if reason := want.meet(d); met[i].Reason != reason {
					t.Fatalf("message %d of the hand: got %s, want %s", i, met[i].Reason, reason)
				}
			}
			stream = stream[n:]
		}
		for w := range appended {
			if got := r.place(w.tenant, w.id); got != want.place[w] {
				t.Fatalf("event %v: got %q, want %q", w, got, want.place[w])
			}
			if got := r.count(`SELECT count(*) FROM event_runtime.event_conflicts WHERE event_id = $1 AND tenant_id = $2`, w.id, w.tenant); got != int64(len(want.conflicts[w])) {
				t.Fatalf("event %v: got %d conflicts, want %d", w, got, len(want.conflicts[w]))
			}
		}
		report, err := verify.Run(r.t.Context(), r.reader, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if report.Exit != verify.Whole {
			t.Fatalf("verify: %v", report.Broken)
		}
	})
}
