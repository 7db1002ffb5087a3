package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// store makes decisions durable.
type store struct {
	pool     *pgxpool.Pool
	consumer string
	now      func() time.Time
}

// persist commits what became of a hand of messages in one transaction, and
// answers with the decisions as the database met them. A row that Postgres
// refuses does not keep the others back: it is found by halving and set aside.
func (s *store) persist(ctx context.Context, hand []Decision) ([]Decision, error) {
	met, err := s.transact(ctx, hand)
	if err == nil || !refusesRow(err) {
		return met, err
	}
	if len(hand) == 1 {
		d := hand[0]
		d.Reason, d.Where, d.Report = Reason(event.Unstorable), "sqlstate "+sqlState(err), nil
		return s.transact(ctx, []Decision{d})
	}
	first, err := s.persist(ctx, hand[:len(hand)/2])
	if err != nil {
		return nil, err // what committed is met as a duplicate next time
	}
	second, err := s.persist(ctx, hand[len(hand)/2:])
	if err != nil {
		return nil, err
	}
	return append(first, second...), nil
}

// retries of a transaction that met another one.
const retries = 3

// errRaced ends a transaction that another one has made wrong while it ran.
var errRaced = errors.New("another worker was there meanwhile")

// takenError ends a transaction that gave events a report key which other events
// have.
type takenError struct{ those []who }

func (e *takenError) Error() string { return fmt.Sprintf("%d report keys are taken", len(e.those)) }

func (s *store) transact(ctx context.Context, hand []Decision) (met []Decision, err error) {
	refused := map[who]bool{}
	for try := 0; try < retries; {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			met, err = s.write(ctx, tx, hand, refused)
			return err
		})
		var taken *takenError
		switch state := sqlState(err); {
		case errors.As(err, &taken): // no failed try: each time fewer are left
			for _, w := range taken.those {
				refused[w] = true
			}
		case state == "40001" || state == "40P01" || errors.Is(err, errRaced):
			try++
		default:
			return met, err
		}
	}
	return met, err
}

// write makes a hand durable in tx. No rows are made for those whose report key
// is known to be another event's.
func (s *store) write(ctx context.Context, tx pgx.Tx, hand []Decision, refused map[who]bool) ([]Decision, error) {
	stored, err := s.meet(ctx, tx, hand, refused)
	if err != nil {
		return nil, err
	}
	corrected, err := s.reopen(ctx, tx, fresh(hand, stored)...)
	if err != nil {
		return nil, err
	}
	met := make([]Decision, len(hand))
	var arrivals []submit.Arrival
	for i, d := range hand {
		d = Meet(d, stored[i])
		met[i] = d
		if d.Reason == Accepted {
			arrivals = append(arrivals, submit.Arrival{Tenant: d.Event.TenantID, Ecosystem: d.Event.Ecosystem, EventID: d.Event.EventID, Report: *d.Report,
				Correction: corrected[d.Event.EventID.Day()]})
		}
	}
	if len(arrivals) > 0 {
		if err := submit.AddChunks(ctx, tx, s.now(), arrivals); err != nil {
			return nil, err
		}
	}
	pages := map[page]map[Reason]int{}
	for i, d := range met {
		counts := d.Reason
		switch {
		case d.Quarantined():
			isNew, err := quarantine.Insert(ctx, tx, entry(s.consumer, d))
			if err != nil {
				return nil, err
			}
			counts = quarantined
			if met[i].Again = !isNew; !isNew {
				continue
			}
		case d.Reason == Conflict:
			if err := s.conflict(ctx, tx, d, stored[i]); err != nil {
				return nil, err
			}
		}
		at, ok := pageOf(d)
		if !ok {
			continue
		}
		if pages[at] == nil {
			pages[at] = map[Reason]int{}
		}
		pages[at][counts]++
	}
	return met, s.close(ctx, tx, met, pages)
}

// refusesRow reports an error that one row caused: bad data or a constraint.
func refusesRow(err error) bool {
	class := sqlState(err)
	return strings.HasPrefix(class, "22") || strings.HasPrefix(class, "23")
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
