package up

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/local"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
)

const database = "runtime"

// startDatabase starts Postgres and brings its one database to this release.
func (m *machine) startDatabase(ctx context.Context) (err error) {
	if err := os.WriteFile(filepath.Join(m.dir, marker), []byte("made by event-runtime up; --fresh removes this directory\n"), 0o600); err != nil {
		return err
	}
	fmt.Fprintln(m.say, "starting postgres ...")
	m.postgres, err = local.StartPostgres(ctx, local.PostgresConfig{Dir: filepath.Join(m.dir, "postgres"), Port: m.ports.postgres, Durable: true})
	if err != nil {
		return err
	}
	if err = m.prepare(ctx); err != nil {
		m.stopDatabase(ctx)
		return err
	}
	m.pool, err = app.Pool(ctx, m.postgres.URL(database, "runtime_readonly"), 2)
	return err
}

func (m *machine) prepare(ctx context.Context) error {
	if err := m.createDatabase(ctx); err != nil {
		return err
	}
	super := m.postgres.URL(database, "")
	if err := migrations.UpWith(ctx, super, migrations.Options{HashModulus: 1}); err != nil {
		return err
	}
	if _, err := migrations.EnsureSlot(ctx, super, migrations.Slot); err != nil {
		return err
	}
	return m.withSuperuser(ctx, database, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, `UPDATE event_runtime.settings SET drain = false WHERE drain`); err != nil {
			return err
		}
		for _, role := range []string{"runtime_owner", "runtime_producer", "runtime_worker", "runtime_maintenance", "runtime_relay", "runtime_readonly"} {
			address, err := url.Parse(m.postgres.URL(database, role))
			if err != nil {
				return err
			}
			password, _ := address.User.Password()
			// ALTER ROLE takes no parameters: quote_literal makes the statement.
			var statement string
			if err := conn.QueryRow(ctx, `SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)`, role, password).Scan(&statement); err != nil {
				return err
			}
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("give %s its password: %w", role, err)
			}
		}
		return nil
	})
}

func (m *machine) createDatabase(ctx context.Context) error {
	return m.withSuperuser(ctx, "postgres", func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, `SELECT exists (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := conn.Exec(ctx, "CREATE DATABASE "+database)
		return err
	})
}

func (m *machine) withSuperuser(ctx context.Context, database string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, m.postgres.URL(database, ""))
	if err != nil {
		return fmt.Errorf("connect to the private postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return do(conn)
}

func (m *machine) stopDatabase(ctx context.Context) {
	if m.pool != nil {
		m.pool.Close()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	m.postgres.Stop(last)
}
