package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// ReclassifyConfig is how events that were set aside are looked at again.
type ReclassifyConfig struct {
	Interval time.Duration `env:"INTERVAL, default=1m"` // between looks whether something has grown
	Again    time.Duration `env:"AGAIN, default=1h"`    // the second round: by then nobody decides by what was known before
	Page     int           `env:"PAGE, default=500"`    // events of one transaction
}

// A Reviser decides what is reportable, and has a name for what it decides by.
type Reviser interface {
	submit.Reporter
	// Edition changes with the catalogue, the APIs and the rules.
	Edition(s *tenant.Snapshot) [32]byte
}

// ReclassifyDeps are what a Reclassifier is built of.
type ReclassifyDeps struct {
	Name    string // of the consumer
	Pool    *pgxpool.Pool
	Tenants func() *tenant.Snapshot
	Reviser Reviser
	Now     func() time.Time
	Log     zerolog.Logger
}

// Reclassifier decides again about events that were not reportable when they
// came, once what is reportable has grown. The leader runs it. What a page of
// events comes to is one transaction: killed anywhere, it goes on behind the last
// page that was committed.
type Reclassifier struct {
	cfg     ReclassifyConfig
	deps    ReclassifyDeps
	store   *store
	metrics *metrics
	log     zerolog.Logger
}

// NewReclassifier starts nothing.
func NewReclassifier(cfg ReclassifyConfig, deps ReclassifyDeps) (*Reclassifier, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Reclassifier{cfg: cfg, deps: deps, store: &store{pool: deps.Pool, consumer: deps.Name, now: deps.Now}, metrics: m,
		log: deps.Log.With().Str("consumer", deps.Name).Logger()}, nil
}

// Run looks again whenever something has grown, until ctx ends.
func (r *Reclassifier) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := r.Due(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn().Str("event", "reclassify.failed").Err(err).Send()
		}
		pause(ctx, r.cfg.Interval)
	}
	return nil
}

// Due makes the round that is due, if one is.
func (r *Reclassifier) Due(ctx context.Context) (Round, error) {
	edition := r.deps.Reviser.Edition(r.deps.Tenants())
	m, err := r.read(ctx)
	if err != nil {
		return Round{}, err
	}
	switch m.errand(edition, r.deps.Now(), r.cfg.Again) {
	case rest:
		return Round{}, nil
	case first:
		err = r.begin(ctx, edition, 1)
	case second:
		err = r.begin(ctx, edition, 2)
	}
	if err != nil {
		return Round{}, err
	}
	return r.finish(ctx, edition)
}

// Now looks through everything at once, whether or not something has grown.
func (r *Reclassifier) Now(ctx context.Context) (Round, error) {
	edition := r.deps.Reviser.Edition(r.deps.Tenants())
	if err := r.begin(ctx, edition, 1); err != nil {
		return Round{}, err
	}
	return r.finish(ctx, edition)
}

// finish takes page after page until the round is done.
func (r *Reclassifier) finish(ctx context.Context, edition [32]byte) (Round, error) {
	for {
		round, done, err := r.page(ctx, edition)
		if errors.Is(err, submit.ErrMoved) {
			return round, nil // another process goes on with it, or by another edition
		}
		if err != nil || done {
			return round, err
		}
	}
}

// Round is what a look through all of them came to.
type Round struct {
	Looked   int64 // at
	Accepted int64 // into a lane
	SetAside int64 // before a person
	TooOld   int64 // reportable, but the regulator refuses them for their age
}

// mark is how far a consumer's events have been looked through.
type mark struct {
	there   bool
	edition [32]byte
	round   int
	done    time.Time // zero: under way
}

// errand is what there is to do.
type errand int

const (
	rest errand = iota
	first
	second
	goOn
)

// errand follows from the mark alone. The second round is for what others have
// decided meanwhile by the edition before: a process that was not yet replaced, or
// had not yet heard of a rule.
func (m mark) errand(edition [32]byte, now time.Time, again time.Duration) errand {
	switch {
	case !m.there || m.edition != edition:
		return first
	case m.done.IsZero():
		return goOn
	case m.round == 1 && !now.Before(m.done.Add(again)):
		return second
	default:
		return rest
	}
}

const sqlReadMark = `SELECT edition, round, done_at FROM event_runtime.reclassify_marks WHERE consumer = @consumer`

func (r *Reclassifier) read(ctx context.Context) (m mark, err error) {
	var edition []byte
	var done *time.Time
	err = r.deps.Pool.QueryRow(ctx, sqlReadMark, pgx.NamedArgs{"consumer": r.deps.Name}).Scan(&edition, &m.round, &done)
	if errors.Is(err, pgx.ErrNoRows) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, fmt.Errorf("read mark of reclassification: %w", err)
	}
	m.there = true
	copy(m.edition[:], edition)
	if done != nil {
		m.done = *done
	}
	return m, nil
}

// lookBack is further than any regulator's age limit (10 days) and the day by
// which an event may be appended late. What is too old is told by its report.
const lookBack = 11 * 24 * time.Hour

const sqlBeginRound = `
INSERT INTO event_runtime.reclassify_marks AS m (consumer, edition, round, day) VALUES (@consumer, @edition, @round, @day)
ON CONFLICT (consumer) DO UPDATE
   SET edition = excluded.edition, round = excluded.round, day = excluded.day, done_at = NULL, tenant_id = '', event_id = '00000000-0000-0000-0000-000000000000',
       looked = 0, accepted = 0, set_aside = 0, too_old = 0`

func (r *Reclassifier) begin(ctx context.Context, edition [32]byte, round int) error {
	day := event.NewID(r.deps.Now().Add(-lookBack)).Day()
	if _, err := r.deps.Pool.Exec(ctx, sqlBeginRound, pgx.NamedArgs{"consumer": r.deps.Name, "edition": edition[:], "round": round, "day": day}); err != nil {
		return fmt.Errorf("begin round of reclassification: %w", err)
	}
	return nil
}
