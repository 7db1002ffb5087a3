package tenant

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

const bank = "acme-bank"

func open(t *testing.T) (*testenv.DB, *Directory) {
	t.Helper()
	db := testenv.Postgres(t)
	db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme')`)
	d, err := Open(t.Context(), db.Pool("runtime_worker"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return db, d
}

// run follows changes until the test ends.
func run(t *testing.T, d *Directory) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// sees waits for a snapshot that has something; it is given half the time after
// which any change is seen without a notification.
func sees(t *testing.T, d *Directory, what string, has func(*Snapshot) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), refreshEvery/2)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !has(d.Snapshot()) {
		select {
		case <-ctx.Done():
			t.Fatalf("not seen: %s", what)
		case <-look.C:
		}
	}
}

// listening waits until the directory's connection listens.
func listening(t *testing.T, db *testenv.DB) {
	t.Helper()
	conn := db.Conn(testenv.Superuser)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for there := false; !there; {
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query = 'LISTEN event_runtime_config')`).Scan(&there)
		if err != nil {
			t.Fatal(err)
		}
		<-look.C
	}
}

func TestEveryKindOfChangeIsLive(t *testing.T) {
	t.Parallel()
	db, d := open(t)
	run(t, d)
	listening(t, db)
	org, at := uuid.New(), time.Now()
	for _, step := range []struct {
		what, sql string
		args      []any
		has       func(*Snapshot) bool
	}{
		{"a new tenant", `INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('beta', 'Beta')`, nil, func(s *Snapshot) bool { _, ok := s.Tenant("beta"); return ok }},
		{"a tenant that is paused", `UPDATE event_runtime.tenants SET state = 'paused' WHERE tenant_id = 'beta'`, nil, func(s *Snapshot) bool { b, _ := s.Tenant("beta"); return b.State == Paused }},
		{"a tenant that is gone", `DELETE FROM event_runtime.tenants WHERE tenant_id = 'beta'`, nil, func(s *Snapshot) bool { _, ok := s.Tenant("beta"); return !ok }},
		{"an organisation", `INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id) VALUES ('acme-bank', 'ofb', $1, $1)`, []any{org},
			func(s *Snapshot) bool {
				o, ok := s.Organisation(bank, "ofb", event.ID(org))
				return ok && o.Submitter == event.ID(org)
			}},
		{"a credential", `INSERT INTO event_runtime.credential_refs VALUES ('acme-bank', 'ofb', $1, 'client', 'file:/c', 'env:KEY')`, []any{org},
			func(s *Snapshot) bool {
				c, ok := s.Credential(bank, "ofb", event.ID(org))
				return ok && c.KeyRef == "env:KEY" && len(s.Credentials()) == 1
			}},
		{"a policy", `INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, max_items) VALUES ('acme-bank', 'ofb', '*', 7)`, nil,
			func(s *Snapshot) bool { return s.Config(bank, "ofb", "private").MaxItems == 7 }},
		{"a policy that is changed", `UPDATE event_runtime.tenant_config SET paused = true`, nil, func(s *Snapshot) bool { return s.Config(bank, "ofb", "private").Paused }},
		{"a rule", `INSERT INTO event_runtime.eligibility_rules (ecosystem, reason) VALUES ('ofb', 'not_yet')`, nil,
			func(s *Snapshot) bool {
				why, ok := s.Excluded(bank, "ofb", "/x", "GET", at)
				return ok && why == "not_yet"
			}},
		{"a token", `INSERT INTO event_runtime.api_tokens VALUES ('env:TOKEN', 'acme-bank')`, nil,
			func(s *Snapshot) bool { return slices.Equal(s.Tokens(), []Token{{TenantID: bank, Ref: "env:TOKEN"}}) }},
		{"the switch to drain", `UPDATE event_runtime.settings SET drain = true`, nil, (*Snapshot).Drain},
	} {
		before := d.Snapshot()
		db.Exec(step.sql, step.args...)
		sees(t, d, step.what, step.has)
		if step.has(before) {
			t.Errorf("%s: a snapshot changed while it was held", step.what)
		}
	}
}

// What changed while nobody listened is read before listening goes on.
func TestALostConnectionLosesNoChange(t *testing.T) {
	t.Parallel()
	db, d := open(t)
	run(t, d)
	listening(t, db)
	db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'runtime_worker'`)
	db.Exec(`UPDATE event_runtime.tenants SET state = 'disabled' WHERE tenant_id = 'acme-bank'`)
	sees(t, d, "the tenant that was disabled meanwhile", func(s *Snapshot) bool { b, _ := s.Tenant(bank); return b.State == Disabled })
}

func TestTheLastCopyStaysInUse(t *testing.T) {
	t.Parallel()
	_, d := open(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Refresh(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "read tenants") {
		t.Errorf("got %v", err)
	}
	if b, ok := d.Snapshot().Tenant(bank); !ok || b.State != Active {
		t.Errorf("got %v, %v, want the copy from before", b, ok)
	}
}

func TestDefaultsAreTheColumns(t *testing.T) {
	t.Parallel()
	db, d := open(t)
	if got := d.Snapshot().Config(bank, "ofb", "private"); !reflect.DeepEqual(got, DefaultConfig()) {
		t.Errorf("without a row: got %+v", got)
	}
	db.Exec(`INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api) VALUES ('acme-bank', 'ofb', '*')`)
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := d.Snapshot().Config(bank, "ofb", "private")
	if len(got.Windows) == 0 {
		got.Windows = nil
	}
	if !reflect.DeepEqual(got, DefaultConfig()) {
		t.Errorf("a row of defaults: got %+v, want %+v", got, DefaultConfig())
	}
}

func TestTheMostSpecificPolicyWins(t *testing.T) {
	t.Parallel()
	db, d := open(t)
	db.Exec(`INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, mode, windows, max_items) VALUES
		('acme-bank', 'ofb', '*', 'scheduled', '{02:00}', 1), ('acme-bank', 'ofb', 'private', 'scheduled', '{04:00,05:30}', 2), ('acme-bank', 'opin', 'private', 'near_real_time', '{}', 3)`)
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		tenant, ecosystem, api string
		items                  int
		windows                string
	}{
		"its own":           {bank, "ofb", "private", 2, "04:00 05:30"},
		"the tenant's":      {bank, "ofb", "open_data", 1, "02:00"},
		"another ecosystem": {bank, "opin", "private", 3, ""},
		"nobody's":          {bank, "opin", "open_data", 1000, ""},
		"another tenant":    {"beta", "ofb", "private", 1000, ""},
	} {
		if got := d.Snapshot().Config(tc.tenant, tc.ecosystem, tc.api); got.MaxItems != tc.items || strings.Join(got.Windows, " ") != tc.windows {
			t.Errorf("%s: got %+v, want %d items at %q", name, got, tc.items, tc.windows)
		}
	}
}

// A row that could not work is refused when it is written, and the refusal names
// the column.
func TestConfigurationIsRefusedByName(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	conn := db.Conn(testenv.Superuser)
	for column, values := range map[string][]string{
		"tenant_config.mode": {`'hourly'`}, "tenant_config.max_items": {"0", "5001", "-1"}, "tenant_config.max_bytes": {"1023", "10000001"}, "tenant_config.max_age": {`'0'`, `'-1 s'`},
		"tenant_config.deadline_lead": {`'0'`, `'-1 h'`}, "tenant_config.ecosystem": {`'psd2'`}, "tenants.state": {`'gone'`}, "tenants.tenant_id": {`'Acme'`, `''`, `'a.b'`, `'-a'`},
		"credential_refs.certificate_ref": {`'-----BEGIN CERTIFICATE-----'`, `'/etc/key'`, `'file:'`}, "credential_refs.key_ref": {`'-----BEGIN PRIVATE KEY-----'`, `'env:'`},
		"credential_refs.client_id": {`''`}, "organisations.ecosystem": {`'psd2'`}, "eligibility_rules.reason": {`'Not yet'`, `''`}, "api_tokens.token_ref": {`'hunter2'`, `'env:'`},
	} {
		table, name, _ := strings.Cut(column, ".")
		for _, value := range values {
			err := tryRow(t.Context(), conn, table, name, value)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "23514" || !strings.Contains(pg.ConstraintName, name) || pg.TableName != table {
				t.Errorf("%s = %s: got %v, want it refused by name", column, value, err)
			}
		}
	}
	_, err := conn.Exec(t.Context(), `INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, mode) VALUES ('acme-bank', 'ofb', '*', 'scheduled')`)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23514" || pg.TableName != "tenant_config" {
		t.Errorf("scheduled without windows: got %v, want it refused", err)
	}
}

// tryRow writes a good row with one column changed, and takes it back.
func tryRow(ctx context.Context, conn *pgx.Conn, table, column, value string) error {
	good := map[string]map[string]string{
		"tenants":           {"tenant_id": "'x'", "name": "'X'"},
		"tenant_config":     {"tenant_id": "'acme-bank'", "ecosystem": "'ofb'", "api": "'*'"},
		"organisations":     {"tenant_id": "'acme-bank'", "ecosystem": "'ofb'", "organisation_id": "'b961c4eb-509d-4edf-afeb-35642b38185d'", "submitter_id": "'b961c4eb-509d-4edf-afeb-35642b38185d'"},
		"credential_refs":   {"tenant_id": "'acme-bank'", "ecosystem": "'ofb'", "organisation_id": "gen_random_uuid()", "client_id": "'x'", "certificate_ref": "'file:/c'", "key_ref": "'file:/k'"},
		"eligibility_rules": {"ecosystem": "'ofb'", "reason": "'x'"},
		"api_tokens":        {"tenant_id": "'acme-bank'", "token_ref": "'env:X'"},
	}[table]
	good[column] = value
	var columns, values []string
	for c, v := range good {
		columns, values = append(columns, c), append(values, v)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	_, err = tx.Exec(ctx, `INSERT INTO event_runtime.`+table+` (`+strings.Join(columns, ",")+`) VALUES (`+strings.Join(values, ",")+`)`)
	return err
}

func TestRules(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	rule := Rule{TenantID: bank, Ecosystem: "ofb", Endpoint: "/accounts", Method: "GET", Reason: "not_yet", From: from, To: from.Add(time.Hour)}
	all := rule
	all.TenantID, all.Endpoint, all.Method = "", "", ""
	for name, tc := range map[string]struct {
		rule                                Rule
		tenant, ecosystem, endpoint, method string
		at                                  time.Time
		want                                bool
	}{
		"all of it":         {rule, bank, "ofb", "/accounts", "GET", from, true},
		"its last moment":   {rule, bank, "ofb", "/accounts", "GET", from.Add(time.Hour - 1), true},
		"before":            {rule, bank, "ofb", "/accounts", "GET", from.Add(-1), false},
		"at its end":        {rule, bank, "ofb", "/accounts", "GET", from.Add(time.Hour), false},
		"another tenant":    {rule, "beta", "ofb", "/accounts", "GET", from, false},
		"another ecosystem": {rule, bank, "opin", "/accounts", "GET", from, false},
		"another endpoint":  {rule, bank, "ofb", "/accounts/1", "GET", from, false},
		"another method":    {rule, bank, "ofb", "/accounts", "POST", from, false},
		"for everybody":     {all, "beta", "ofb", "/x", "POST", from, true},
		"but not there":     {all, "beta", "opin", "/x", "POST", from, false},
	} {
		if got := tc.rule.Matches(tc.tenant, tc.ecosystem, tc.endpoint, tc.method, tc.at); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
