package testenv

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Superuser is the role that may do everything; the others are runtime_owner,
// runtime_producer, runtime_worker, runtime_relay, runtime_maintenance and
// runtime_readonly.
const Superuser = "superuser"

const poolSize = 8

// A server is where databases are, and how to get in.
type server struct{ admin url.URL }

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return server{}, fmt.Errorf("address of the cluster: %w", err)
	}
	return server{*u}, nil
}

// url is the address of a database for a role; only the superuser needs a
// password, which stays with whoever may read this user's files.
func (s server) url(database, role string) string {
	u := s.admin
	u.Path = "/" + database
	if role != "" && role != Superuser && role != superuser {
		u.User = url.User(role)
	}
	return u.String()
}

// do runs statements as the superuser, on a connection of their own.
func (s server) do(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.url(superuser, Superuser))
	if err != nil {
		return fmt.Errorf("connect as the superuser: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// A DB is one database.
type DB struct {
	t      testing.TB
	server server
	name   string
}

// Name is the database's name in its cluster.
func (db *DB) Name() string { return db.name }

// URL is the database's address for a role.
func (db *DB) URL(role string) string { return db.server.url(db.name, role) }

// Pool opens a pool for a role; it is closed when the test ends.
func (db *DB) Pool(role string) *pgxpool.Pool {
	db.t.Helper()
	cfg, err := pgxpool.ParseConfig(db.URL(role))
	if err != nil {
		db.t.Fatalf("pool for %s: %v", role, err)
	}
	cfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(db.t.Context()), cfg) // cleanups of the test may use it too
	if err != nil {
		db.t.Fatalf("pool for %s: %v", role, err)
	}
	db.t.Cleanup(pool.Close)
	return pool
}

// Conn opens one connection for a role; it is closed when the test ends.
func (db *DB) Conn(role string) *pgx.Conn {
	db.t.Helper()
	conn, err := pgx.Connect(db.t.Context(), db.URL(role))
	if err != nil {
		db.t.Fatalf("connect as %s: %v", role, err)
	}
	db.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(db.t.Context())) })
	return conn
}

// Exec runs SQL as the superuser, past every restriction.
func (db *DB) Exec(sql string, args ...any) {
	db.t.Helper()
	conn, err := pgx.Connect(db.t.Context(), db.URL(Superuser))
	if err != nil {
		db.t.Fatalf("connect as superuser: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(db.t.Context())) }()
	if _, err := conn.Exec(db.t.Context(), sql, args...); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
}
