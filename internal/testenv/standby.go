package testenv

import (
	"context"
	"maps"
	"path/filepath"

	"github.com/finnest/event-runtime/internal/local"
	"github.com/jackc/pgx/v5"
)

// Standby gives the test a second server that streams from this one, and may be
// promoted. The settings are the primary's, and those given.
func (c *PostgresServer) Standby(options ...Option) *PostgresServer {
	c.t.Helper()
	o := clusterOptions{settings: maps.Clone(c.cfg.Extra)}
	for _, option := range options {
		option(&o)
	}
	dir := filepath.Join(clusterParent(c.t, o), "cluster")
	if err := local.CloneStandby(c.t.Context(), c.pg, dir); err != nil {
		c.t.Fatal(err)
	}
	s := &PostgresServer{cfg: local.PostgresConfig{Dir: dir, Trust: true, Durable: o.durable, Extra: o.settings}}
	s.DB = &DB{t: c.t, name: c.name}
	s.Start()
	c.t.Cleanup(s.close)
	return s
}

// Promote makes a standby a primary, and returns when it can be written.
func (c *PostgresServer) Promote() {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.URL(Superuser))
	if err != nil {
		c.t.Fatalf("connect to promote: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) }()
	var ended bool
	if err := conn.QueryRow(c.t.Context(), `SELECT pg_promote(wait_seconds => 60)`).Scan(&ended); err != nil || !ended {
		c.t.Fatalf("promote: %v, %v", ended, err)
	}
}
