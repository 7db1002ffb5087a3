package intake

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// request is one that was understood.
type request struct {
	tenant, key string
	body        []byte
	events      []outbox.Event
}

const sqlHold = `
SELECT verdict, coalesce(status, 0), coalesce(answer, '') FROM event_runtime.hold_key(@tenant, @route, @key, @body)`

const sqlKeep = `
SELECT event_runtime.keep_answer(@tenant, @route, @key, @body, @status, @answer)`

// errNothing ends a transaction in which there is nothing to keep.
var errNothing = errors.New("nothing to commit")

// store appends the events and keeps the answer, in one transaction; or repeats
// what was answered before.
func (s *Service) store(ctx context.Context, r request) (a answer, err error) {
	key, body := sha256.Sum256([]byte(r.key)), sha256.Sum256(r.body)
	args := pgx.NamedArgs{"tenant": r.tenant, "route": Route, "key": key[:], "body": body[:]}
	a.events = len(r.events)
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var verdict string
		if err := tx.QueryRow(ctx, sqlHold, args).Scan(&verdict, &a.status, &a.body); err != nil {
			return fmt.Errorf("hold key: %w", err)
		}
		switch verdict {
		case "new":
			return a.appendTo(ctx, tx, args, r.events)
		case "stored":
			a.replayed = true
		case "running":
			a.problem = running()
		case "other_body":
			a.problem = otherBody()
		default:
			return fmt.Errorf("hold key: unknown verdict %q", verdict)
		}
		return errNothing
	})
	if found := refusals(err, r.events); len(found) > 0 {
		a.problem, err = refused(found), nil
	}
	if errors.Is(err, errNothing) {
		err = nil
	}
	return a, err
}

func (a *answer) appendTo(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs, events []outbox.Event) error {
	ids, err := outbox.Append(ctx, tx, events...)
	if err != nil {
		return err
	}
	text, err := json.Marshal(struct {
		IDs []string `json:"ids"`
	}{ids})
	if err != nil {
		return err
	}
	a.status, a.body = http.StatusCreated, string(text)
	args["status"], args["answer"] = a.status, a.body
	if _, err := tx.Exec(ctx, sqlKeep, args); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

// refusals are what err says about events; none where it says nothing of them.
func refusals(err error, events []outbox.Event) []api.Refusal {
	var invalid *outbox.InvalidError
	if errors.As(err, &invalid) { // Append stops at the first
		return unappendable(events, nil)
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return nil
	}
	switch {
	case pg.Code == "23505" && strings.HasPrefix(pg.TableName, "outbox"):
		return named(pg.Detail, events, "taken", "an event with this id is there already")
	case pg.ConstraintName == "append_clock_guard":
		return named(pg.Message, events, "out_of_time", "make the id when the event is posted: within the last 24 hours, and not in the future")
	}
	return nil
}

// named finds the last event whose id is in a text of the database's: where an
// id is twice in a batch, the second is one too many.
func named(text string, events []outbox.Event, reason, hint string) []api.Refusal {
	for i := len(events) - 1; i >= 0; i-- {
		if id, err := event.ParseID(events[i].ID); err == nil && strings.Contains(text, id.String()) {
			return []api.Refusal{{Index: i, Field: "event_id", Reason: reason, Hint: hint}}
		}
	}
	return nil
}
