// Package demo is a small market of banks for one machine: their tenants, an
// instrumented API for each, and customers' traffic between them.
//
// Promise: what it does is what a bank would do: it uses packages outbox and
//
//	capture, and the SQL function, and nothing else of event-runtime.
//
// State:   none of its own.
// Failure: a call that fails is a captured failure.
package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/audit"
	"github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/jackc/pgx/v5"
)

// Bank is one tenant of the demonstration.
type Bank struct {
	OpenData     bool // it also publishes open data
	Tenant       string
	Organisation string // as the simulator's directory knows it
	Mode         string
	MaxAge       time.Duration
	Windows      []string
}

// Banks are three that trade with each other: two that report at once and one
// that reports at fixed times. That one also publishes open data: a report of it
// that a kill leaves in doubt would wait for two persons, whom a demonstration does
// not have, and what waits for its hour is in nobody's hand when things are killed.
func Banks() []Bank {
	ids := ofb.DefaultDirectory().Organisations
	return []Bank{
		{Tenant: "banco-araucaria", Organisation: ids[0].ID, Mode: "near_real_time", MaxAge: 2 * time.Second},
		{Tenant: "banco-ipe", Organisation: ids[2].ID, Mode: "near_real_time", MaxAge: 3 * time.Second},
		{Tenant: "cooperativa-jatoba", Organisation: ids[3].ID, Mode: "scheduled", MaxAge: time.Minute, Windows: []string{"03:00", "09:00", "15:00", "21:00"}, OpenData: true},
	}
}

// Control is a tenant of its own that keeps reporting while others are asked
// about: without a report that must be visible, an absence proves nothing.
func Control() Bank {
	return Bank{Tenant: "fintech-buriti", Organisation: ofb.DefaultDirectory().Organisations[4].ID, Mode: "near_real_time", MaxAge: time.Second}
}

// Partner is an institution outside of this machine's books: it calls our banks
// and is called by them, and reports for itself. Were both sides ours, each
// lookup would show the other side's report too, and doubt could not be cleared
// up by itself.
func Partner() string { return ofb.DefaultDirectory().Organisations[1].ID }

const seedActor = "demo:seed"

// Seed makes the tenants known and gives them their credentials. conn is the
// owner's: configuration is not a worker's business.
func Seed(ctx context.Context, conn *pgx.Conn, pki ofb.PKI) error {
	for _, b := range append(Banks(), Control()) {
		files, ok := pki.Of(b.Organisation)
		if !ok {
			return fmt.Errorf("seed %s: the simulator knows no organisation %s", b.Tenant, b.Organisation)
		}
		if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return seed(ctx, tx, b, files) }); err != nil {
			return fmt.Errorf("seed %s: %w", b.Tenant, err)
		}
	}
	return nil
}

const sqlSeedTenant = `
INSERT INTO event_runtime.tenants (tenant_id, name) VALUES (@tenant, @name) ON CONFLICT DO NOTHING`

const sqlSeedOrganisation = `
INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id) VALUES (@tenant, 'ofb', @organisation, @organisation) ON CONFLICT DO NOTHING`

const sqlSeedReference = `
INSERT INTO event_runtime.credential_refs (tenant_id, ecosystem, organisation_id, client_id, certificate_ref, key_ref)
VALUES (@tenant, 'ofb', @organisation, @client, @certificate, @key)
ON CONFLICT (tenant_id, ecosystem, organisation_id) DO UPDATE
   SET client_id = excluded.client_id, certificate_ref = excluded.certificate_ref, key_ref = excluded.key_ref`

const sqlSeedConfig = `
INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, mode, max_items, max_age, windows)
VALUES (@tenant, 'ofb', '*', @mode, 1000, @max_age, @windows)
ON CONFLICT DO NOTHING`

func seed(ctx context.Context, tx pgx.Tx, b Bank, files ofb.ClientFiles) error {
	args := pgx.NamedArgs{"tenant": b.Tenant, "name": files.Name, "organisation": b.Organisation, "client": files.ClientID, "certificate": "file:" + files.Certificate,
		"key": "file:" + files.Key, "mode": b.Mode, "max_age": b.MaxAge, "windows": append([]string{}, b.Windows...)}
	made, err := tx.Exec(ctx, sqlSeedTenant, args)
	if err != nil {
		return err
	}
	for _, sql := range []string{sqlSeedOrganisation, sqlSeedReference, sqlSeedConfig} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return err
		}
	}
	if made.RowsAffected() == 0 {
		return nil
	}
	return audit.Append(ctx, tx, time.Now(), audit.Change{Chain: b.Tenant, Actor: seedActor, Action: "tenant.created", Subject: b.Tenant,
		Payload: map[string]any{"organisation": b.Organisation, "mode": b.Mode}})
}
