package ofb

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Mode is how the simulated counterparty reports one call.
type Mode string

// The zero mode is Missing: nobody reports the other side.
const (
	Missing         Mode = "missing"
	Equal           Mode = "equal"            // the same call: PAIRED
	DifferentStatus Mode = "different_status" // PAIRED_INCONSISTENT
	Late            Mode = "late"             // equal, but only after Counterparty.Late
)

// Counterparty reports the other side of every valid report that arrives, so that
// all states of pairing occur with one real participant.
type Counterparty struct {
	Mode          Mode         `json:"mode,omitempty"`
	Mix           map[Mode]int `json:"mix,omitempty"`           // weights, instead of Mode; drawn per interaction from the seed
	Late          Duration     `json:"late,omitempty"`          // for Late; 0: one minute
	Organisations []string     `json:"organisations,omitempty"` // who is simulated; empty: all outside the sender's conglomerate
	EvenIfLost    bool         `json:"even_if_lost,omitempty"`  // also for items that a fault kept from being stored
}

const defaultLate = time.Minute

func (c Counterparty) validate() error {
	known := []Mode{"", Missing, Equal, DifferentStatus, Late}
	for _, m := range append(slices.Collect(maps.Keys(c.Mix)), c.Mode) {
		if !slices.Contains(known, m) {
			return fmt.Errorf("unknown mode %q", m)
		}
	}
	for m, weight := range c.Mix {
		if weight < 0 {
			return fmt.Errorf("negative weight for %q", m)
		}
	}
	if c.Late < 0 {
		return fmt.Errorf("negative delay %v", time.Duration(c.Late))
	}
	return nil
}

// mode is drawn from the interaction alone, so that order and restarts do not matter.
func (c Counterparty) mode(seed uint64, interaction uuid.UUID) Mode {
	total := 0
	for _, weight := range c.Mix {
		total += weight
	}
	if total == 0 {
		return c.Mode
	}
	var salt uint64
	for _, b := range interaction {
		salt = salt*131 + uint64(b)
	}
	draw := rand.New(rand.NewPCG(seed, salt)).IntN(total)
	for _, m := range []Mode{Equal, DifferentStatus, Late, Missing, ""} {
		if draw -= c.Mix[m]; draw < 0 {
			return m
		}
	}
	return Missing
}

// reflection is what the other side of e reports, and how long after e.
func (c Counterparty) reflection(e entry, sender uuid.UUID, reg *registry, seed uint64) (entry, time.Duration, bool) {
	if e.open || e.state != accepted && (e.state != notStored || !c.EvenIfLost) || e.role == noRole {
		return entry{}, 0, false
	}
	m := entry{report: e.report, state: accepted}
	m.role, m.correlation, m.raw = e.role.other(), nil, nil
	if !c.simulates(m.party(), sender, reg) {
		return entry{}, 0, false
	}
	switch c.mode(seed, e.interaction) {
	case Equal:
		return m, 0, true
	case DifferentStatus:
		if m.status = http.StatusOK; e.status == http.StatusOK {
			m.status = http.StatusInternalServerError
		}
		return m, 0, true
	case Late:
		late := time.Duration(c.Late)
		setDefault(&late, defaultLate)
		return m, late, true
	default:
		return entry{}, 0, false
	}
}

// simulates leaves alone whoever sends for itself.
func (c Counterparty) simulates(party, sender uuid.UUID, reg *registry) bool {
	if party == uuid.Nil || reg.speaksFor(sender, party) {
		return false
	}
	return len(c.Organisations) == 0 || slices.Contains(c.Organisations, party.String())
}
