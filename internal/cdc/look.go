package cdc

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DB is a connection, a pool or a transaction.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Columns that came with later versions are read by their names, so that one
// statement serves all of them.
const sqlLook = `
SELECT pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
       s.slot_name IS NOT NULL, coalesce(s.plugin = 'pgoutput' AND s.database = current_database(), false), coalesce(s.wal_status, ''),
       coalesce(to_jsonb(s) ->> 'invalidation_reason', ''), coalesce((to_jsonb(s) ->> 'synced')::boolean, false),
       coalesce(s.confirmed_flush_lsn - '0/0'::pg_lsn, 0)::bigint, coalesce(s.active, false), s.safe_wal_size,
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, s.confirmed_flush_lsn), 0)::bigint,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
  FROM (VALUES (true)) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = @slot`

const mebibyte = 1 << 20

// Look sees how a slot stands.
func Look(ctx context.Context, db DB, slot string) (s Seen, err error) {
	err = db.QueryRow(ctx, sqlLook, pgx.NamedArgs{"slot": slot}).Scan(&s.Standby, &s.SystemID, &s.Timeline, &s.Exists, &s.Ours, &s.Status,
		&s.Invalidation, &s.Synced, &s.Confirmed, &s.Active, &s.SafeWAL, &s.Lag, &s.Limit)
	if err != nil {
		return s, fmt.Errorf("look at the slot: %w", err)
	}
	if s.Limit > 0 {
		s.Limit *= mebibyte
	}
	return s, nil
}

const sqlKnown = `
SELECT system_id, timeline, coalesce(reach_lsn - '0/0'::pg_lsn, 0)::bigint FROM event_runtime.cdc_slots WHERE slot_name = @slot`

// ErrNoMemory says that the database has no tables of ours: then nothing can be
// known of a slot that is gone.
var ErrNoMemory = errors.New("the database does not keep what is known of slots")

// Recall gives what was last known of a slot; nil when nobody has seen it.
func Recall(ctx context.Context, db DB, slot string) (*Known, error) {
	var k Known
	err := db.QueryRow(ctx, sqlKnown, pgx.NamedArgs{"slot": slot}).Scan(&k.SystemID, &k.Timeline, &k.Reach)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return &k, nil
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil //nolint:nilnil // nobody has seen it
	case errors.As(err, &pg) && (pg.Code == undefinedTable || pg.Code == noPrivilege || pg.Code == invalidSchema):
		return nil, ErrNoMemory
	default:
		return nil, fmt.Errorf("read what is known of the slot: %w", err)
	}
}

const (
	undefinedTable = "42P01"
	invalidSchema  = "3F000"
	noPrivilege    = "42501"
)

// Ask sees how a slot stands, and then what is known of it: in this order, what
// the relay says before it confirms is known before it is seen.
func Ask(ctx context.Context, db DB, slot string) (known *Known, now Seen, err error) {
	if now, err = Look(ctx, db, slot); err != nil {
		return nil, now, err
	}
	known, err = Recall(ctx, db, slot)
	return known, now, err
}
