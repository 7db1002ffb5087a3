package bridge

import (
	"errors"
	"sync"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// trouble tells a way to fail once, and when it is over. Sequin repeats what was
// not taken; a line for each time would say nothing new.
type trouble struct {
	log zerolog.Logger

	mu   sync.Mutex
	code string // the last one told; empty: all is well
}

// tell hears of every answer.
func (t *trouble) tell(p *api.Problem, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case p == nil && t.code == "", p != nil && p.Code == t.code:
	case p == nil:
		t.log.Info().Str("event", "bridge.recovered").Str("code", t.code).Send()
		t.code = ""
	case p.Status >= 500:
		t.code = p.Code
		cause(t.log.Warn().Str("event", "bridge.failed").Str("code", p.Code), err).Send()
	default: // of a sender that is none, or is not configured as it must be: it says nothing about us
		t.log.Warn().Str("event", "bridge.refused").Str("code", p.Code).Str("detail", p.Detail).Send()
	}
}

// cause tells an error of the database without what it was about: its text may
// quote a row.
func cause(line *zerolog.Event, err error) *zerolog.Event {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return line.Str("sqlstate", pg.Code).Str("constraint", pg.ConstraintName)
	}
	return line.Err(err)
}
