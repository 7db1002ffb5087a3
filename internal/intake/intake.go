// Package intake is POST /v1/events: events of producers that have no
// transaction of ours, in any language.
//
// Promise: a batch that was answered with 201 is committed, as a whole and as
//
//	outbox.Append would have written it; repeating a request with its
//	Idempotency-Key within 24 hours answers the same and appends nothing.
//
// State:   event_runtime.idempotency_keys; a row is committed with its events.
// Failure: a refusal leaves nothing behind, its key included. 503 says that the
//
//	outcome is unknown: the same request with the same key is safe.
package intake

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Route is where the service is mounted, and the scope of its keys.
const Route = "/v1/events"

// MostEvents is what the answer of a batch has room for.
const MostEvents = 10_000

// Config is how much is taken at once.
type Config struct {
	MaxBytes  int64         `env:"MAX_BYTES, default=4194304"` // of a request's body
	MaxEvents int           `env:"MAX_EVENTS, default=1000"`   // of a request
	Parallel  int32         `env:"PARALLEL, default=16"`       // requests worked on, and connections; others wait
	Timeout   time.Duration `env:"TIMEOUT, default=10s"`       // of a request, its waiting included
}

// Deps is what a Service works with.
type Deps struct {
	Pool    *pgxpool.Pool // as runtime_producer
	Tenants func() *tenant.Snapshot
	Now     func() time.Time
	Log     zerolog.Logger
}

// Service takes batches of events.
type Service struct {
	cfg     Config
	pool    *pgxpool.Pool
	tokens  *tokens
	slots   chan struct{} // one for each request whose body is in memory
	metrics *metrics
	log     zerolog.Logger
}

// New starts nothing.
func New(cfg Config, d Deps) (*Service, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, pool: d.Pool, tokens: newTokens(d), slots: make(chan struct{}, cfg.Parallel), metrics: m, log: d.Log}, nil
}

// answer is what a request came to: a body, or a problem.
type answer struct {
	status   int
	body     string
	replayed bool
	events   int
	problem  *api.Problem
}

// ServeHTTP answers one request and says so in one line.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	correlation := correlationID(r.Header)
	w.Header().Set("X-Correlation-Id", correlation)
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	from, a, err := s.take(ctx, w, r)
	if err != nil {
		a = answer{problem: unavailable()}
		if r.Context().Err() == nil { // a caller that left is no failure of ours
			s.failed(err, correlation)
		}
	}
	code := "accepted"
	switch {
	case a.problem != nil:
		code, a.status = a.problem.Code, a.problem.Status
		a.problem.CorrelationID = correlation
		guide(w.Header(), a.problem)
		a.problem.Write(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Idempotency-Replayed", strconv.FormatBool(a.replayed))
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}
	s.metrics.answered(ctx, code, a)
	s.log.Info().Str("event", "intake.answered").Str("tenant_id", from).Int("status", a.status).Str("code", code).Int("events", a.events).
		Bool("replayed", a.replayed).Str("correlation_id", correlation).Dur("took", time.Since(began)).Send()
}

// take does what a request asks for. An error says that the outcome is unknown.
// It begins with what costs nothing: nobody without a token has a body read.
func (s *Service) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (from string, a answer, err error) {
	if r.Method != http.MethodPost {
		return "", answer{problem: methodNotAllowed()}, nil
	}
	from, known := s.tokens.tenant(api.Bearer(r.Header))
	if !known {
		return "", answer{problem: unauthorized(r.Header)}, nil
	}
	key, p := admit(r)
	if p != nil {
		return from, answer{problem: p}, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return from, answer{problem: busy()}, nil
	}
	body, p := s.read(w, r)
	if p != nil {
		return from, answer{problem: p}, nil
	}
	events, p := s.decode(body, from)
	if p != nil {
		return from, answer{problem: p}, nil
	}
	a, err = s.store(ctx, request{tenant: from, key: key, body: body, events: events})
	return from, a, err
}

// failed tells an error of the database without what it was about: its text may
// quote a row.
func (s *Service) failed(err error, correlation string) {
	line := s.log.Warn().Str("event", "intake.failed").Str("correlation_id", correlation)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		line.Str("sqlstate", pg.Code).Str("constraint", pg.ConstraintName).Send()
		return
	}
	line.Err(err).Send()
}
