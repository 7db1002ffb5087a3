package chaos

import (
	"fmt"
	"slices"

	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
)

// A bank is one tenant. The first of its organisations sends for all of them.
type bank struct {
	tenant        string
	organisations []string
}

// partnerOrg is nobody's tenant: it stands on the other side of every call, and
// the simulated counterparty speaks for it.
const partnerOrg = "55e5c0de-0006-4e00-8e00-000000000006"

// banks report while things break; the first has two organisations of one
// conglomerate.
func banks() []bank {
	o := simulator.DefaultDirectory().Organisations
	return []bank{
		{"banco-norte", []string{o[0].ID, o[1].ID}},
		{"banco-sul", []string{o[2].ID}},
		{"cooperativa-oeste", []string{o[3].ID}},
	}
}

// control is the tenant that keeps reporting while others are asked about.
func control() bank {
	return bank{"controle", []string{simulator.DefaultDirectory().Organisations[4].ID}}
}

func allBanks() []bank { return append(banks(), control()) }

// market is the regulator's directory with the partner in it.
func market() simulator.Directory {
	d := simulator.DefaultDirectory()
	d.Organisations = append(slices.Clone(d.Organisations), simulator.Organisation{
		ID: partnerOrg, Name: "Instituição Parceira", ClientID: "55e5c0de-0006-4e00-8e00-0000000000c1",
		SoftwareStatements: []string{"55e5c0de-0006-4e00-8e00-000000000051"},
	})
	return d
}

func statementOf(organisation string) string {
	for _, o := range market().Organisations {
		if o.ID == organisation {
			return o.SoftwareStatements[0]
		}
	}
	panic(fmt.Sprintf("organisation %s is not in the directory", organisation))
}

// seed makes the tenants known. What waits in a lane waits for a moment; with a
// number of items, the second bank's waits for all of them.
func (r *rig) seed(items int) {
	r.t.Helper()
	pki := r.regulator.PKI()
	for _, b := range allBanks() {
		r.db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ($1, $1)`, b.tenant)
		r.db.Exec(`INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, max_items, max_age) VALUES ($1, 'ofb', '*', 500, '200 milliseconds')`, b.tenant)
		files, ok := pki.Of(b.organisations[0])
		if !ok {
			r.t.Fatalf("the regulator has no certificate for %s", b.organisations[0])
		}
		for _, organisation := range b.organisations {
			r.db.Exec(`INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id) VALUES ($1, 'ofb', $2, $3)`, b.tenant, organisation, b.organisations[0])
		}
		r.db.Exec(`INSERT INTO event_runtime.credential_refs (tenant_id, ecosystem, organisation_id, client_id, certificate_ref, key_ref) VALUES ($1, 'ofb', $2, $3, $4, $5)`,
			b.tenant, b.organisations[0], files.ClientID, "file:"+files.Certificate, "file:"+files.Key)
	}
	if items > 0 {
		r.db.Exec(`UPDATE event_runtime.tenant_config SET max_items = $2, max_age = '1 minute' WHERE tenant_id = $1`, banks()[1].tenant, items)
	}
}
