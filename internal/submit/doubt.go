package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// WaitsFor is what an unconfirmed batch waits for.
type WaitsFor string

// What there is to wait for.
const (
	AnAnswer   WaitsFor = "answer"      // the regulator is asked
	TwoPersons WaitsFor = "two_persons" // nobody can be asked, or the answers do not tell: nothing sends it again by itself
)

// Doubt is an unconfirmed batch.
type Doubt struct {
	BatchID  event.ID  `json:"batch_id"`
	TenantID string    `json:"tenant_id"`
	API      string    `json:"api"`
	Items    int       `json:"items"`
	Attempt  int       `json:"attempt"`
	Code     Code      `json:"code"` // of the attempt whose answer is missing
	PostedAt time.Time `json:"posted_at"`
	Deadline time.Time `json:"deadline"`
	WaitsFor WaitsFor  `json:"waits_for"`
	SHA256   string    `json:"body_sha256"` // of the frozen bytes, which a decision is bound to
}

const sqlDoubts = `
SELECT batch_id, tenant_id, api, items, attempt, coalesce(code, ''), posted_at, deadline, CASE WHEN needs_person THEN 'two_persons' ELSE 'answer' END, encode(body_sha256, 'hex')
  FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' ORDER BY needs_person DESC, deadline, batch_id LIMIT @most`

// Doubts lists unconfirmed batches, those that wait for persons first.
func Doubts(ctx context.Context, pool *pgxpool.Pool, most int) ([]Doubt, error) {
	rows, err := pool.Query(ctx, sqlDoubts, pgx.NamedArgs{"most": most})
	if err != nil {
		return nil, fmt.Errorf("list unconfirmed batches: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Doubt, err error) {
		return d, row.Scan(&d.BatchID, &d.TenantID, &d.API, &d.Items, &d.Attempt, &d.Code, &d.PostedAt, &d.Deadline, &d.WaitsFor, &d.SHA256)
	})
	if err != nil {
		return nil, fmt.Errorf("list unconfirmed batches: %w", err)
	}
	return all, nil
}

// level is how much doubt of one kind there is.
type level struct {
	ecosystem, api string
	waits          WaitsFor
	batches        int64
}

const sqlDoubtLevels = `
SELECT ecosystem, api, CASE WHEN needs_person THEN 'two_persons' ELSE 'answer' END, count(*)
  FROM event_runtime.export_batches WHERE state = 'submit_unconfirmed' GROUP BY 1, 2, 3`

func (d *Desk) readDoubt(ctx context.Context) error {
	rows, err := d.pool.Query(ctx, sqlDoubtLevels)
	if err != nil {
		return fmt.Errorf("count unconfirmed batches: %w", err)
	}
	levels, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l level, err error) {
		return l, row.Scan(&l.ecosystem, &l.api, &l.waits, &l.batches)
	})
	if err != nil {
		return fmt.Errorf("count unconfirmed batches: %w", err)
	}
	d.metrics.doubt.Store(&levels)
	return nil
}

// exportDoubt offers what was read last until stop: a process that does not
// reconcile knows nothing about it.
func (m *metrics) exportDoubt() (stop func(), err error) {
	meter := otel.Meter("event-runtime/submit")
	open, made := meter.Int64ObservableGauge("event_runtime_submit_unconfirmed_open",
		metric.WithDescription("Unconfirmed batches, by what they wait for: an answer of the regulator, or two persons."))
	m.doubt.Store(nil)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		levels := m.doubt.Load()
		if levels == nil {
			return nil
		}
		for _, l := range *levels {
			o.ObserveInt64(open, l.batches, metric.WithAttributes(attribute.String("ecosystem", l.ecosystem), attribute.String("api", l.api), attribute.String("waits_for", string(l.waits))))
		}
		return nil
	}, open)
	if err := errors.Join(made, err); err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}
