// Package lease says who runs what.
//
// Promise: at any moment of the database's clock at most one owner holds a job,
//
//	and its token is larger than every token before it, so a write that checks
//	the token refuses an owner that was stopped and woke up.
//
// State:   the table leases.
// Failure: a lease that cannot be renewed ends the context of what it guards.
package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TTL is how long a lease lasts without renewal, where nobody says otherwise.
const TTL = 10 * time.Second

// renewals is how often a lease is renewed within its time.
const renewals = 3

// The database's clock decides: workers may disagree about the time.
const sqlAcquire = `
INSERT INTO event_runtime.leases AS l (job, owner, token, expires_at)
VALUES (@job, @owner, 1, now() + @ttl::interval)
ON CONFLICT (job) DO UPDATE
   SET owner = excluded.owner, token = l.token + 1, expires_at = excluded.expires_at
 WHERE l.expires_at < now()
RETURNING token`

const sqlRenew = `
UPDATE event_runtime.leases SET expires_at = now() + @ttl::interval
 WHERE job = @job AND owner = @owner AND token = @token AND expires_at > now()
RETURNING token`

const sqlRelease = `
UPDATE event_runtime.leases SET expires_at = now() WHERE job = @job AND owner = @owner AND token = @token`

// Job is what one owner at a time does, and for how long a lease on it lasts.
type Job struct {
	Name  string
	Owner string
	TTL   time.Duration // 0: the usual
}

func (j Job) ttl() time.Duration { return cmp.Or(j.TTL, TTL) }

func (j Job) args() pgx.NamedArgs {
	return pgx.NamedArgs{"job": j.Name, "owner": j.Owner, "ttl": j.ttl()}
}

// Sharing the row for the rest of a transaction keeps the lease ours until it has
// committed.
const sqlHold = `
SELECT token FROM event_runtime.leases WHERE job = @job AND owner = @owner AND token = @token AND expires_at > now() FOR SHARE`

// ErrLost means that another owner may have the lease by now.
var ErrLost = errors.New("the lease is lost")

// Hold makes sure, inside tx, that the lease is still j's, until tx has ended.
func (j Job) Hold(ctx context.Context, tx pgx.Tx, token int64) error {
	args := j.args()
	args["token"] = token
	var held int64
	err := tx.QueryRow(ctx, sqlHold, args).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", j.Name, ErrLost)
	}
	return err
}

// Run keeps trying to hold job and calls do while it does. The context of do
// ends when the lease is lost; its token goes into every write that the lease
// guards. Run returns when ctx ends, or when do fails.
func Run(ctx context.Context, pool *pgxpool.Pool, job Job, do func(ctx context.Context, token int64) error) error {
	for {
		token, err := acquire(ctx, pool, job)
		if err == nil {
			if err := hold(ctx, pool, job, token, do); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(job.ttl() / renewals): // held by another, lost, or the database is away: ask again
		}
	}
}

var errTaken = errors.New("lease is held by another owner")

func acquire(ctx context.Context, pool *pgxpool.Pool, job Job) (int64, error) {
	var token int64
	err := pool.QueryRow(ctx, sqlAcquire, job.args()).Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errTaken
	}
	if err != nil {
		return 0, fmt.Errorf("acquire lease %s: %w", job.Name, err)
	}
	return token, nil
}

func hold(ctx context.Context, pool *pgxpool.Pool, job Job, token int64, do func(context.Context, int64) error) error {
	args := job.args()
	args["token"] = token
	guarded, cancel := context.WithCancel(ctx)
	defer cancel()
	go Keep(guarded, cancel, job.ttl(), func(ctx context.Context) error {
		var got int64
		return pool.QueryRow(ctx, sqlRenew, args).Scan(&got)
	})
	err := do(guarded, token)
	if guarded.Err() != nil {
		err = nil // lost, or ending: not do's failure
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	_, _ = pool.Exec(last, sqlRelease, args) // best effort: otherwise it expires
	return err
}

// Keep calls renew until ctx ends, and cancel as soon as a lease of ttl cannot
// be counted on any more: renew was refused, or did not succeed for two thirds
// of ttl.
func Keep(ctx context.Context, cancel context.CancelFunc, ttl time.Duration, renew func(context.Context) error) {
	last := time.Now()
	ticker := time.NewTicker(ttl / renewals)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		asked := time.Now() // the lease counts from some moment after this
		try, done := context.WithTimeout(ctx, ttl/renewals)
		err := renew(try)
		done()
		switch {
		case err == nil:
			last = asked
		case errors.Is(err, pgx.ErrNoRows) || time.Since(last) > ttl/2: // two in a row: the next one would come too late
			cancel()
			return
		}
	}
}
