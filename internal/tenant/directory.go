package tenant

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// refreshEvery bounds how old a snapshot gets when notifications are lost.
const refreshEvery = 30 * time.Second

// Directory keeps a Snapshot current.
type Directory struct {
	pool    *pgxpool.Pool
	log     zerolog.Logger
	current atomic.Pointer[Snapshot]
}

// Open reads the first snapshot.
func Open(ctx context.Context, pool *pgxpool.Pool, log zerolog.Logger) (*Directory, error) {
	d := &Directory{pool: pool, log: log}
	if err := d.Refresh(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Snapshot is the newest copy.
func (d *Directory) Snapshot() *Snapshot { return d.current.Load() }

// Run follows changes until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := d.follow(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn().Str("event", "tenant.follow_failed").Err(err).Send()
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// follow listens first and reads then, so no change falls in between.
func (d *Directory) follow(ctx context.Context) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer func() {
		// A connection that listens must not go back to the pool.
		_ = conn.Conn().Close(context.WithoutCancel(ctx))
		conn.Release()
	}()
	if _, err := conn.Exec(ctx, "LISTEN event_runtime_config"); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for {
		if err := d.Refresh(ctx); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, refreshEvery)
		_, err := conn.Conn().WaitForNotification(wait)
		expired := wait.Err() != nil
		cancel()
		if err != nil && !expired {
			return fmt.Errorf("wait for notification: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

const sqlSettings = `SELECT drain FROM event_runtime.settings`

const sqlTenants = `SELECT tenant_id, state, synthetic FROM event_runtime.tenants`

const sqlOrganisations = `SELECT tenant_id, ecosystem, organisation_id, submitter_id FROM event_runtime.organisations`

const sqlCredentials = `
SELECT tenant_id, ecosystem, organisation_id, client_id, certificate_ref, key_ref FROM event_runtime.credential_refs`

const sqlTokens = `SELECT tenant_id, token_ref FROM event_runtime.api_tokens ORDER BY token_ref`

const sqlConfigs = `
SELECT tenant_id, ecosystem, api, mode, max_items, max_bytes, max_age, windows, deadline_lead, dry_run, requires_approval, paused
  FROM event_runtime.tenant_config`

const sqlRules = `
SELECT coalesce(tenant_id, ''), ecosystem, coalesce(endpoint, ''), coalesce(method, ''), reason,
       greatest(valid_from, '0001-01-01 00:00:00+00'), least(valid_to, '9999-12-31 00:00:00+00')
  FROM event_runtime.eligibility_rules ORDER BY rule_id`

// Refresh reads everything anew, in one transaction.
func (d *Directory) Refresh(ctx context.Context) error {
	s := &Snapshot{tenants: map[string]Tenant{}, organisations: map[orgKey]Organisation{}, configs: map[configKey]Config{}, credentials: map[orgKey]Credential{}}
	err := pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return s.read(ctx, tx) })
	if err != nil {
		return fmt.Errorf("read tenants: %w", err)
	}
	d.current.Store(s)
	return nil
}

func (s *Snapshot) read(ctx context.Context, tx pgx.Tx) error {
	var t Tenant
	var o Organisation
	var k orgKey
	var c Credential
	var ck configKey
	var cfg Config
	var r Rule
	var token Token
	for _, part := range []struct {
		sql   string
		into  []any
		store func()
	}{
		{sqlSettings, []any{&s.drain}, func() {}},
		{sqlTenants, []any{&t.ID, &t.State, &t.Synthetic}, func() { s.tenants[t.ID] = t }},
		{sqlOrganisations, []any{&k.tenant, &k.ecosystem, &o.ID, &o.Submitter}, func() {
			k.organisation = o.ID
			s.organisations[k] = o
		}},
		{sqlCredentials, []any{&c.TenantID, &c.Ecosystem, &c.OrganisationID, &c.ClientID, &c.CertificateRef, &c.KeyRef}, func() {
			s.credentials[orgKey{c.TenantID, c.Ecosystem, c.OrganisationID}] = c
		}},
		{sqlConfigs, []any{&ck.tenant, &ck.ecosystem, &ck.api, &cfg.Mode, &cfg.MaxItems, &cfg.MaxBytes, &cfg.MaxAge, &cfg.Windows, &cfg.DeadlineLead,
			&cfg.DryRun, &cfg.RequiresApproval, &cfg.Paused}, func() {
			s.configs[ck] = cfg
			cfg.Windows = nil // scanned into anew
		}},
		{sqlRules, []any{&r.TenantID, &r.Ecosystem, &r.Endpoint, &r.Method, &r.Reason, &r.From, &r.To}, func() { s.rules = append(s.rules, r) }},
		{sqlTokens, []any{&token.TenantID, &token.Ref}, func() { s.tokens = append(s.tokens, token) }},
	} {
		rows, err := tx.Query(ctx, part.sql)
		if err != nil {
			return err
		}
		if _, err := pgx.ForEachRow(rows, part.into, func() error { part.store(); return nil }); err != nil {
			return err
		}
	}
	return nil
}
