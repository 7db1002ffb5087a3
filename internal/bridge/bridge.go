// Package bridge is POST /sequin/outbox: it publishes what Sequin's webhook sink
// sends, and answers only when JetStream has it.
//
// Promise: a batch that was answered with 200 is stored, each row by the stream
//
//	of its subject or, where none can ever take it, as a row of quarantine. What
//	is published is, byte for byte, the element that Sequin sent, with the subject
//	and headers that its NATS sink would have given it.
//
// State:   none; Sequin keeps a batch until it is answered.
// Failure: anything but 200 makes Sequin send the whole batch again. What a stream
//
//	has taken of it is known there by its Nats-Msg-Id.
package bridge

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Route is where the service is mounted: sequin/sequin.bridge.yaml names it.
const Route = "/sequin/outbox"

// Deps is what a Service works with.
type Deps struct {
	Pool *pgxpool.Pool // as runtime_worker, for what is set aside
	JS   jetstream.JetStream
	Now  func() time.Time
	Log  zerolog.Logger
}

// Service takes batches of messages.
type Service struct {
	cfg     Config
	pool    *pgxpool.Pool
	js      jetstream.JetStream
	route   route.Router
	tokens  *tokens
	bodies  chan struct{} // one for each request whose body is in memory
	flying  chan struct{} // one for each message without a PubAck
	trouble trouble
	metrics *metrics
	log     zerolog.Logger
}

// New starts nothing. A token that cannot be read is its error: Sequin would try
// for ever.
func New(cfg Config, d Deps) (*Service, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	t, err := openTokens(cfg.TokenRefs, d.Now, d.Log)
	if err != nil {
		return nil, fmt.Errorf("BRIDGE_TOKEN_REFS: %w", err)
	}
	outbox, _ := route.Lookup(route.Outbox)
	return &Service{cfg: cfg, pool: d.Pool, js: d.JS, route: outbox(columns()), tokens: t, trouble: trouble{log: d.Log},
		bodies: make(chan struct{}, cfg.Parallel), flying: make(chan struct{}, cfg.InFlight), metrics: m, log: d.Log}, nil
}

// tally is what became of the rows of a batch.
type tally struct {
	rows, stored, duplicate, parked int
}

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	t, p, err := s.take(ctx, w, r)
	left := r.Context().Err() != nil // whoever left sends it again, and is no failure of ours
	s.metrics.answered(ctx, code(p))
	if !left {
		s.trouble.tell(p, err)
	}
	if p == nil {
		crash.Point("bridge_after_puback_before_2xx")
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"rows":%d,"stored":%d,"duplicates":%d,"quarantined":%d}`, t.rows, t.stored, t.duplicate, t.parked)
	} else {
		guide(w.Header(), p)
		p.Write(w)
	}
	s.log.Debug().Str("event", "bridge.answered").Str("code", code(p)).Int("rows", t.rows).Int("stored", t.stored).Int("duplicates", t.duplicate).
		Int("parked", t.parked).Dur("took", time.Since(began)).Send()
}

// take does what a request asks for. It begins with what costs nothing: nobody
// without the token has a body read. The error is the cause of the problem,
// where there is one that a person should hear of.
func (s *Service) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (t tally, p *api.Problem, err error) {
	if p := s.admit(r); p != nil {
		return t, p, nil
	}
	select {
	case s.bodies <- struct{}{}:
		defer func() { <-s.bodies }()
	case <-ctx.Done():
		return t, busy(), nil
	}
	body, p := s.read(w, r)
	if p != nil {
		return t, p, nil
	}
	rows, p := batchOf(body)
	if p != nil {
		return t, p, nil
	}
	return s.carry(ctx, rows)
}

// carry publishes what can be published, and sets the rest aside: only when both
// is done has the batch been delivered.
func (s *Service) carry(ctx context.Context, rows [][]byte) (t tally, p *api.Problem, err error) {
	t.rows = len(rows)
	sent := s.publish(ctx, rows)
	t.stored, t.duplicate = sent.stored, sent.duplicate
	s.metrics.published(ctx, sent)
	if sent.err != nil {
		return t, notStored(), sent.err
	}
	if err := s.park(ctx, sent.never); err != nil {
		return t, notParked(), err
	}
	t.parked = len(sent.never)
	s.metrics.parked(ctx, t.parked)
	return t, nil, nil
}
