package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres gives the test a migrated database of its own, in the cluster that
// all packages of a `go test` share. A test that needs a replication slot, or
// that stops the server, takes Cluster: a slot decodes the whole cluster's WAL.
func Postgres(t testing.TB) *DB {
	t.Helper()
	s, template, err := process.shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db := &DB{t: t, server: s, name: "t_" + strings.ToLower(rand.Text())}
	if err := clone(t.Context(), s, template, db.name); err != nil {
		t.Fatalf("clone the template: %v", err)
	}
	t.Cleanup(db.drop)
	return db
}

func (db *DB) drop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(db.t.Context()), time.Minute)
	defer cancel()
	if err := db.server.do(ctx, "drop database if exists "+db.name+" with (force)"); err != nil {
		db.t.Errorf("drop the test's database: %v", err)
	}
}

// What CREATE DATABASE does not copy from its template: rights on the database
// itself, and settings bound to it.
const (
	copyRights = `update pg_database set datacl = (select datacl from pg_database where datname = '%[1]s') where datname = '%[2]s'`

	copySettings = `insert into pg_db_role_setting
		select (select oid from pg_database where datname = '%[2]s'), setrole, setconfig
		from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = '%[1]s')`
)

func clone(ctx context.Context, s server, template, name string) error {
	return s.do(ctx,
		fmt.Sprintf("create database %s template %s strategy file_copy", name, template), // half the time of wal_log
		fmt.Sprintf(copyRights, template, name),
		fmt.Sprintf(copySettings, template, name))
}

// makeTemplate makes the database that tests clone, named after the migrations
// in this binary: a process built from others makes its own beside it.
func makeTemplate(ctx context.Context, s server) (string, error) {
	key, err := schemaKey(time.Now())
	if err != nil {
		return "", err
	}
	name := "template_" + key
	conn, err := pgx.Connect(ctx, s.url(superuser, Superuser))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext('testenv template'))"); err != nil { // until the connection closes
		return "", err
	}
	var there bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&there)
	if err != nil || there {
		return name, err
	}
	return name, migrateTemplate(ctx, s, name)
}

// migrateTemplate gives the template its name last: half of one is never taken
// for a whole.
func migrateTemplate(ctx context.Context, s server, name string) error {
	unfinished := name + "_new"
	if err := s.do(ctx, "drop database if exists "+unfinished+" with (force)", "create database "+unfinished); err != nil {
		return err
	}
	if err := migrate(ctx, s.url(unfinished, Superuser)); err != nil {
		return err
	}
	return s.do(ctx,
		"alter database "+unfinished+" allow_connections false", // nobody may be in a template that is copied
		"alter database "+unfinished+" rename to "+name)
}
