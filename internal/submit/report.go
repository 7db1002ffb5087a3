package submit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/jackc/pgx/v5"
)

// Report is which report an event becomes.
type Report struct {
	API           string
	Submitter     event.ID // whose credential reports it
	Party         event.ID // the organisation it is about
	Role          string   // CLIENT or SERVER
	InteractionID event.ID // with Party and Role: what the regulator tells reports apart by
	Deadline      time.Time
	Final         time.Time // when the regulator refuses it for its age; zero: never
	Bytes         int       // about how long the item will be
}

// Ineligible says why an event is not reported. It is no failure: the event has
// its row, with this reason.
type Ineligible string

func (i Ineligible) Error() string { return "ineligible: " + string(i) }

// Reporter decides what a regulator wants to hear of an event.
type Reporter interface {
	// Report answers with the report that e becomes, an Ineligible, or an
	// *event.Defect for what a person must look at.
	Report(e *event.Envelope, s *tenant.Snapshot) (Report, error)
}

// Arrival is an accepted event on its way into a lane.
type Arrival struct {
	Tenant     string
	Ecosystem  string
	EventID    event.ID
	Report     Report
	Correction bool // its day had been closed
}

const sqlAddChunk = `
INSERT INTO event_runtime.lane_chunks (tenant_id, ecosystem, api, organisation_id, event_ids, items, bytes, oldest, deadline, correction)
VALUES (@tenant_id, @ecosystem, @api, @organisation_id, @event_ids, @items, @bytes, @now, @deadline, @correction)`

// pile is what goes into one chunk.
type pile struct {
	lane       LaneKey
	correction bool
}

// AddChunks gives arrivals to their lanes, one row a lane, in the transaction
// that accepts them. Corrections are kept apart.
func AddChunks(ctx context.Context, tx pgx.Tx, now time.Time, arrivals []Arrival) error {
	piles := map[pile][]Arrival{}
	for _, a := range arrivals {
		k := LaneKey{TenantID: a.Tenant, Ecosystem: a.Ecosystem, API: a.Report.API, OrganisationID: a.Report.Submitter}
		piles[pile{k, a.Correction}] = append(piles[pile{k, a.Correction}], a)
	}
	var all pgx.Batch
	for _, p := range slices.SortedFunc(maps.Keys(piles), func(a, b pile) int {
		return cmp.Or(cmp.Compare(a.lane.TenantID, b.lane.TenantID), cmp.Compare(a.lane.API, b.lane.API))
	}) {
		k, those := p.lane, piles[p]
		ids, bytes, deadline := make([]event.ID, 0, len(those)), 0, those[0].Report.Deadline
		for _, a := range those {
			ids, bytes = append(ids, a.EventID), bytes+a.Report.Bytes
			if a.Report.Deadline.Before(deadline) {
				deadline = a.Report.Deadline
			}
		}
		all.Queue(sqlAddChunk, pgx.NamedArgs{"tenant_id": k.TenantID, "ecosystem": k.Ecosystem, "api": k.API, "organisation_id": k.OrganisationID,
			"event_ids": ids, "items": len(ids), "bytes": bytes, "now": now, "deadline": deadline, "correction": p.correction})
	}
	if err := tx.SendBatch(ctx, &all).Close(); err != nil {
		return fmt.Errorf("add to lanes: %w", err)
	}
	return nil
}
