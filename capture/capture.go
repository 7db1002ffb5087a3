// Package capture records every regulated API call that a program answers
// (Recorder.Server) or makes (Recorder.Client): one interaction.completed event
// a call, written to the outbox before the call's last byte is let go. Calls that
// end while a commit is under way share the next one.
//
// Promise: a call is a committed row before the answer's last write leaves
//
//	(server) or the response is handed over (client). Where Postgres does not
//	commit within Config.Wait the call goes on without it, the same event is
//	tried again in the background, and the call ends as late or as lost: each
//	recordable call is counted exactly once. The call itself never fails
//	because of us, and its answer is the same but for x-fapi-interaction-id.
//	What a committed row outlives is Config.Durability's to say.
//
// State:   the outbox row. In memory, and only while Postgres is away, at most
//
//	Config.QueueSize events that wait for their next attempt.
//
// Failure: fails open. What is lost is counted, logged as capture.lost, and
//
//	raises event_runtime_capture_lost_total.
//
// Of a call its endpoint template, method, status, times and ids are recorded,
// and what the bank's own hooks add. Bodies, query strings, concrete paths and
// other header values are neither recorded nor logged.
package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// A Pool begins transactions, as *pgxpool.Pool does. Begin must heed its
// context: that is what bounds how long a response is held.
type Pool interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Recorder writes interactions to the outbox. A process has one a tenant and
// ecosystem, shared by all its middlewares and round-trippers.
type Recorder struct {
	cfg       Config
	store     store
	writers   *writers
	later     *backlog
	ctx       context.Context // ends the attempts that Close does not wait for
	stop      context.CancelFunc
	count     *counts
	templates templates
	told      once
	outage    outage
	buffers   buffers
}

// New makes a Recorder. It starts nothing and does not ask the database: a
// program must start while Postgres is away.
func New(pool Pool, cfg Config) (*Recorder, error) {
	if pool == nil {
		return nil, errors.New("capture: a pool is needed")
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	count, err := newCounts()
	if err != nil {
		return nil, err
	}
	r := &Recorder{cfg: cfg, store: transaction{pool, cfg.Durability}, count: count}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.writers, r.later = newWriters(r, cfg.Writers), newBacklog(r)
	return r, nil
}

// Close ends what the recorder started. It waits for the attempts under way and
// in the background while ctx lasts; what is left then is lost, and the error
// says how much. Stop serving first: a call that comes later gets one attempt.
func (r *Recorder) Close(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.stop)()
	r.writers.close()
	left := r.later.close()
	r.stop()
	for _, it := range left {
		r.lose(it, lostClosed, ctx.Err())
	}
	if len(left) > 0 {
		return fmt.Errorf("capture: %d calls lost at close", len(left))
	}
	return nil
}

// Stats says what became of the calls so far.
func (r *Recorder) Stats() Stats {
	return Stats{Server: r.count.of(event.Server), Client: r.count.of(event.Client), Waiting: int(r.count.waits.Load())}
}
