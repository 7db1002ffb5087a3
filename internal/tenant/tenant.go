// Package tenant knows who we report for: tenants, their organisations, rules
// and flush policies.
//
// Promise: a change in the database is seen by every reader within a second,
//
//	and a Snapshot never changes while it is being read.
//
// State:   a copy of a few small tables, replaced as a whole.
// Failure: while the database is away the last copy stays in use.
package tenant

import (
	"time"

	"github.com/finnest/event-runtime/internal/event"
)

// State is what a tenant's events are worth.
type State string

// States of a tenant.
const (
	Active   State = "active"
	Paused   State = "paused"   // accepted, held before sealing
	Disabled State = "disabled" // not reported
)

// Tenant is one institution.
type Tenant struct {
	ID        string
	State     State
	Synthetic bool // ours: never submitted
}

// Organisation is one legal entity of a tenant. Submitter is the one whose
// credential reports for it: itself, or another member of its conglomerate.
type Organisation struct {
	ID, Submitter event.ID
}

// Credential is where a submitter's keys are.
type Credential struct {
	TenantID, Ecosystem string
	OrganisationID      event.ID
	ClientID            string
	CertificateRef      string
	KeyRef              string
}

// Token is where a tenant's bearer token for POST /v1/events is. A tenant has two
// of them while it rotates.
type Token struct {
	TenantID, Ref string
}

// Rule keeps calls from being reported, and says why. Empty fields match all.
type Rule struct {
	TenantID, Ecosystem, Endpoint, Method string
	Reason                                string
	From, To                              time.Time
}

// Matches reports whether the rule covers a call.
func (r Rule) Matches(tenant, ecosystem, endpoint, method string, at time.Time) bool {
	return (r.TenantID == "" || r.TenantID == tenant) && r.Ecosystem == ecosystem &&
		(r.Endpoint == "" || r.Endpoint == endpoint) && (r.Method == "" || r.Method == method) &&
		!at.Before(r.From) && at.Before(r.To)
}

// Mode is how a lane decides when to send.
type Mode string

// Modes of a lane.
const (
	NearRealTime Mode = "near_real_time"
	Scheduled    Mode = "scheduled"
)

// Config is a tenant's policy for one API, or for '*'.
type Config struct {
	Mode             Mode
	MaxItems         int
	MaxBytes         int
	MaxAge           time.Duration
	Windows          []string // 'HH:MM', UTC
	DeadlineLead     time.Duration
	DryRun           bool
	RequiresApproval bool
	Paused           bool
}

// DefaultConfig is what a tenant without any row gets: the columns' defaults.
func DefaultConfig() Config {
	return Config{Mode: NearRealTime, MaxItems: 1000, MaxBytes: 8_000_000, MaxAge: time.Minute, DeadlineLead: 2 * time.Hour}
}

type orgKey struct {
	tenant, ecosystem string
	organisation      event.ID
}

type configKey struct{ tenant, ecosystem, api string }

// Snapshot is everything at one moment.
type Snapshot struct {
	tenants       map[string]Tenant
	organisations map[orgKey]Organisation
	configs       map[configKey]Config
	credentials   map[orgKey]Credential
	rules         []Rule
	tokens        []Token
	drain         bool
}

// Tokens lists the tokens of all tenants.
func (s *Snapshot) Tokens() []Token { return s.tokens }

// Drain reports that everything that waits is to be sent now.
func (s *Snapshot) Drain() bool { return s.drain }

// Tenant finds a tenant by its slug.
func (s *Snapshot) Tenant(id string) (Tenant, bool) { t, ok := s.tenants[id]; return t, ok }

// Organisation finds an organisation of a tenant.
func (s *Snapshot) Organisation(tenant, ecosystem string, id event.ID) (Organisation, bool) {
	o, ok := s.organisations[orgKey{tenant, ecosystem, id}]
	return o, ok
}

// Credential finds the keys of a submitter.
func (s *Snapshot) Credential(tenant, ecosystem string, submitter event.ID) (Credential, bool) {
	c, ok := s.credentials[orgKey{tenant, ecosystem, submitter}]
	return c, ok
}

// Credentials lists all of them.
func (s *Snapshot) Credentials() []Credential {
	all := make([]Credential, 0, len(s.credentials))
	for _, c := range s.credentials {
		all = append(all, c)
	}
	return all
}

// Config is the policy of a lane: the API's own, else the tenant's, else the default.
func (s *Snapshot) Config(tenant, ecosystem, api string) Config {
	if c, ok := s.configs[configKey{tenant, ecosystem, api}]; ok {
		return c
	}
	if c, ok := s.configs[configKey{tenant, ecosystem, "*"}]; ok {
		return c
	}
	return DefaultConfig()
}

// Excluded finds the first rule that keeps a call from being reported.
func (s *Snapshot) Excluded(tenant, ecosystem, endpoint, method string, at time.Time) (reason string, excluded bool) {
	for _, r := range s.rules {
		if r.Matches(tenant, ecosystem, endpoint, method, at) {
			return r.Reason, true
		}
	}
	return "", false
}

// Rules lists the rules of an ecosystem, in their order.
func (s *Snapshot) Rules(ecosystem string) []Rule {
	var all []Rule
	for _, r := range s.rules {
		if r.Ecosystem == ecosystem {
			all = append(all, r)
		}
	}
	return all
}

// NewSnapshot is a snapshot of some tenants and nothing else.
func NewSnapshot(tenants []Tenant) *Snapshot {
	s := &Snapshot{tenants: map[string]Tenant{}}
	for _, t := range tenants {
		s.tenants[t.ID] = t
	}
	return s
}
