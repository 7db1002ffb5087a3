// Package migrations brings a database to the schema this binary works with.
//
// Promise: Up is idempotent, safe to run from several places at once, and only
//
//	goes forward; the previous release runs on the new schema.
//
// State:   the table event_runtime_migrations in the database.
// Failure: a migration that fails leaves its own transaction undone and names
//
//	its file; what is missing for it (a role, wal_level) is named with the
//	statement that mends it.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

// FS holds the numbered migrations and roles.sql.
//
//go:embed *.sql
var FS embed.FS

const (
	// Publication is what sequin/ and the relay subscribe to.
	Publication = "runtime_outbox_pub"
	// Slot is where they are in it.
	Slot = "runtime_outbox_slot"

	owner         = "runtime_owner"
	versionTable  = "public.event_runtime_migrations"
	daysAhead     = 14
	lockTimeout   = "2s"
	lockRetries   = 30
	lockNotHeld   = "55P03"
	duplicateSlot = "42710"
)

// Options changes what Up makes.
type Options struct {
	DaysBehind  int // partitions before today; ids are refused when older than 24 h, so 1
	DaysAhead   int // partitions after today; default 14
	HashModulus int // leaves a day; default what the database has (4)
}

// Roles creates the cluster's roles where they are missing. It needs a superuser.
func Roles(ctx context.Context, superuserURL string) error {
	conn, err := pgx.Connect(ctx, superuserURL)
	if err != nil {
		return fmt.Errorf("connect to create roles: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return createRoles(ctx, conn)
}

func createRoles(ctx context.Context, conn *pgx.Conn) error {
	sql, err := FS.ReadFile("roles.sql")
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, string(sql)); err != nil {
		return fmt.Errorf("create roles: %w", err)
	}
	return nil
}

// Up applies every migration and makes the days from yesterday to 14 ahead.
// The URL's user is a superuser (then missing roles are created, and the rest
// runs as runtime_owner) or runtime_owner.
func Up(ctx context.Context, url string) error { return UpWith(ctx, url, Options{}) }

// UpWith is Up with other partitions than the usual ones.
func UpWith(ctx context.Context, url string, opt Options) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database address: %w", err)
	}
	if err := prepare(ctx, cfg); err != nil {
		return err
	}
	cfg.RuntimeParams["role"] = owner
	cfg.RuntimeParams["lock_timeout"] = lockTimeout
	if err := retryLocked(ctx, func() error { return goUp(ctx, cfg) }); err != nil {
		return err
	}
	return retryLocked(ctx, func() error { return makeDays(ctx, cfg, opt) })
}

// prepare makes the roles, or says who must.
func prepare(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var super bool
	var version int
	if err := conn.QueryRow(ctx, `select rolsuper, current_setting('server_version_num')::int from pg_roles where rolname = current_user`).Scan(&super, &version); err != nil {
		return err
	}
	if version < 150000 {
		return fmt.Errorf("postgres %d.%d is too old: event-runtime needs 15 or newer", version/10000, version%10000)
	}
	if super {
		// One after the other, until the connection is closed: two grants on one
		// database at a time would fail.
		if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('event_runtime.migrate', 0))`); err != nil {
			return fmt.Errorf("wait for another migration: %w", err)
		}
		if err := createRoles(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `do $$ begin execute format('grant create, connect on database %I to runtime_owner', current_database()); end $$;
			grant create, usage on schema public to runtime_owner`)
		return err
	}
	var missing []string
	err = conn.QueryRow(ctx, `select coalesce(array_agg(r), '{}') from unnest(array['runtime_owner','runtime_producer','runtime_worker','runtime_maintenance','runtime_relay','runtime_readonly']) r
		where not exists (select from pg_roles where rolname = r)`).Scan(&missing)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("roles are missing (%s): run `event-runtime migrate --print-roles | psql` as a superuser once, or migrate as a superuser", strings.Join(missing, ", "))
	}
	return nil
}

func goUp(ctx context.Context, cfg *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // asks every second, for five minutes
	if err != nil {
		return err
	}
	numbered, err := fs.Sub(FS, ".")
	if err != nil {
		return err
	}
	store, err := database.NewStore(database.DialectPostgres, versionTable)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider("", db, numbered, goose.WithStore(store), goose.WithSessionLocker(locker), goose.WithExcludeNames([]string{"roles.sql"}))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func makeDays(ctx context.Context, cfg *pgx.ConnConfig, opt Options) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if opt.DaysAhead == 0 {
		opt.DaysAhead = daysAhead
	}
	if opt.DaysBehind == 0 {
		opt.DaysBehind = 1
	}
	if opt.HashModulus > 0 {
		if _, err := conn.Exec(ctx, `update event_runtime.settings set hash_modulus = $1`, opt.HashModulus); err != nil {
			return fmt.Errorf("set hash modulus: %w", err)
		}
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	_, err = conn.Exec(ctx, `select event_runtime.ensure_days($1, $2)`, today.AddDate(0, 0, -opt.DaysBehind), today.AddDate(0, 0, opt.DaysAhead))
	if err != nil {
		return fmt.Errorf("make days: %w", err)
	}
	return nil
}

// EnsureSlot creates the replication slot where it is missing, after the
// publication: a slot cannot see one younger than itself. On PG 17 it fails
// over. It reports whether it made one.
func EnsureSlot(ctx context.Context, url, name string) (made bool, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false, fmt.Errorf("connect to create the slot: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return MakeSlot(ctx, conn, name)
}

// MakeSlot is EnsureSlot on a connection that is open. It waits for the
// transactions of this moment to end.
func MakeSlot(ctx context.Context, conn *pgx.Conn, name string) (made bool, err error) {
	var level string
	var version int
	var exists bool
	err = conn.QueryRow(ctx, `select current_setting('wal_level'), current_setting('server_version_num')::int,
		exists (select from pg_replication_slots where slot_name = $1)`, name).Scan(&level, &version, &exists)
	if err != nil {
		return false, err
	}
	if exists {
		return false, nil
	}
	if level != "logical" {
		return false, fmt.Errorf("wal_level is %q, change data capture needs \"logical\": ALTER SYSTEM SET wal_level = logical, then restart postgres", level)
	}
	sql := `select pg_create_logical_replication_slot($1, 'pgoutput')`
	if version >= 170000 {
		sql = `select pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`
	}
	if _, err := conn.Exec(ctx, sql, name); err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == duplicateSlot {
			return false, nil
		}
		return false, fmt.Errorf("create slot %s: %w", name, err)
	}
	return true, nil
}

// retryLocked tries again when a lock was not to be had within lock_timeout:
// waiting longer would queue every producer behind us.
func retryLocked(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		var pg *pgconn.PgError
		if err == nil || !errors.As(err, &pg) || pg.Code != lockNotHeld || try == lockRetries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}
