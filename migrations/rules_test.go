package migrations_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
)

// Who may do what. A table that is not here, or a right more, fails the test:
// giving one away is a decision.
var rights = map[string]map[string]string{
	"api_tokens":           {"runtime_worker": "SELECT"},
	"audit_ledger":         {"runtime_worker": "SELECT INSERT", "runtime_maintenance": "SELECT INSERT"},
	"cdc_losses":           {"runtime_relay": "SELECT INSERT UPDATE", "runtime_worker": "SELECT INSERT UPDATE"},
	"cdc_slots":            {"runtime_relay": "SELECT INSERT UPDATE", "runtime_worker": "SELECT INSERT UPDATE"},
	"books":                {"runtime_worker": "SELECT INSERT UPDATE"},
	"days":                 {"runtime_worker": "SELECT INSERT UPDATE"},
	"consumer_idempotency": {"runtime_worker": "SELECT INSERT"},
	"consumer_outcomes":    {"runtime_worker": "SELECT"},
	"credential_refs":      {"runtime_worker": "SELECT"},
	"eligibility_rules":    {"runtime_worker": "SELECT"},
	"entitlements":         {"runtime_worker": "SELECT INSERT"},
	"event_conflicts":      {"runtime_worker": "SELECT INSERT"},
	"export_batches":       {"runtime_worker": "SELECT INSERT UPDATE"},
	"idempotency_keys":     {},
	"lane_chunks":          {"runtime_worker": "SELECT INSERT UPDATE DELETE"},
	"lanes":                {"runtime_worker": "SELECT INSERT UPDATE"},
	"leases":               {"runtime_worker": "SELECT INSERT UPDATE"},
	"organisations":        {"runtime_worker": "SELECT"},
	"outbox":               {"runtime_worker": "SELECT", "runtime_relay": "SELECT"},
	"partition_days":       {"runtime_worker": "SELECT", "runtime_maintenance": "SELECT"},
	"partitioned_tables":   {},
	"quarantine":           {"runtime_worker": "SELECT INSERT UPDATE", "runtime_relay": "SELECT INSERT"},
	"reclassifications":    {"runtime_worker": "SELECT INSERT"},
	"reclassify_marks":     {"runtime_worker": "SELECT INSERT UPDATE"},
	"settings":             {"runtime_worker": "SELECT"},
	"submission_attempts":  {"runtime_worker": "SELECT INSERT"},
	"submission_inquiries": {"runtime_worker": "SELECT INSERT"},
	"submission_receipts":  {"runtime_worker": "SELECT INSERT"},
	"sweep_marks":          {"runtime_worker": "SELECT INSERT UPDATE"},
	"sweep_owed":           {"runtime_worker": "SELECT INSERT UPDATE DELETE"},
	"sweep_samples":        {"runtime_worker": "SELECT INSERT DELETE"},
	"tenant_config":        {"runtime_worker": "SELECT"},
	"tenants":              {"runtime_worker": "SELECT"},
}

var calls = map[string][]string{
	"append_canary": {"runtime_worker"},
	"append_event":  {"runtime_producer"},
	"append_events": {"runtime_producer"},
	"ensure_days":   {"runtime_maintenance"},
	"event_day":     {"runtime_maintenance", "runtime_producer", "runtime_readonly", "runtime_relay", "runtime_worker"},
	"event_time":    {"runtime_maintenance", "runtime_producer", "runtime_readonly", "runtime_relay", "runtime_worker"},
	"hold_key":      {"runtime_producer"},
	"keep_answer":   {"runtime_producer"},
	"make_day":      {}, "new_event_id": {}, "notify_config": {}, "refuse_change": {}, "refuse_thaw": {},
}

// columns too: a right on one column shows in no right on the table.
const sqlRights = `
select format('%s %s: %s', c.relname, r.rolname, string_agg(p, ' ' order by n)) from pg_class c, pg_roles r,
       unnest(array['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) with ordinality as privilege(p, n)
 where c.relnamespace = 'event_runtime'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relispartition = $1
   and r.rolname like 'runtime\_%' and r.rolname <> 'runtime_owner'
   and (has_table_privilege(r.oid, c.oid, p) or p in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') and has_any_column_privilege(r.oid, c.oid, p))
 group by c.relname, r.rolname order by 1`

func TestRolesMayDoNoMoreThanTheyNeed(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	var want []string
	for table, of := range rights {
		for role, may := range of {
			want = append(want, fmt.Sprintf("%s %s: %s", table, role, may))
		}
		want = append(want, table+" runtime_readonly: SELECT")
	}
	slices.Sort(want)
	differ(t, "tables", all(t, db, sqlRights, false), want)
	differ(t, "names of tables", all(t, db, `select relname::text from pg_class where relnamespace = 'event_runtime'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition order by 1`),
		slices.Sorted(maps.Keys(rights)))
	for _, leaf := range all(t, db, sqlRights, true) {
		if !strings.HasSuffix(leaf, " runtime_readonly: SELECT") {
			t.Errorf("past the root: %s", leaf)
		}
	}
}

func TestFunctionsAreCalledByWhoNeedsThem(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	var want []string
	for name, by := range calls {
		want = append(want, fmt.Sprintf("%s %v", name, by))
	}
	slices.Sort(want)
	differ(t, "functions", all(t, db, `select format('%s [%s]', proname, string_agg(r.rolname, ' ' order by r.rolname))
		from pg_proc p left join pg_roles r on r.rolname like 'runtime\_%' and r.rolname <> 'runtime_owner' and has_function_privilege(r.oid, p.oid, 'execute')
		where pronamespace = 'event_runtime'::regnamespace group by p.oid, proname order by 1`), want)
}

func differ(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: got %q, which is not expected", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: want %q, which is not there", what, line)
		}
	}
}

// What a query finds is against a rule of the schema.
var forbidden = map[string]string{
	"a default partition: a day could not be attached or detached beside producers": `select oid::regclass::text from pg_class where relispartition and pg_get_expr(relpartbound, oid) = 'DEFAULT'`,
	"a table that a crash empties":                                           `select oid::regclass::text from pg_class where relnamespace = 'event_runtime'::regnamespace and relpersistence <> 'p'`,
	"something of everybody's":                                               `select c.relname::text from pg_class c, aclexplode(c.relacl) a where relnamespace = 'event_runtime'::regnamespace and a.grantee = 0`,
	"a function of everybody's":                                              `select proname::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where pronamespace = 'event_runtime'::regnamespace and a.grantee = 0`,
	"a right on the schema beyond usage":                                     `select r.rolname::text from pg_roles r where rolname like 'runtime\_%' and rolname <> 'runtime_owner' and has_schema_privilege(r.oid, 'event_runtime', 'create')`,
	"a function with its owner's rights and its caller's search path":        `select proname::text from pg_proc where pronamespace = 'event_runtime'::regnamespace and prosecdef and not exists (select from unnest(proconfig) s where s = 'search_path=event_runtime, pg_temp')`,
	"something that is not the owner's":                                      `select relname::text from pg_class where relnamespace = 'event_runtime'::regnamespace and relowner <> 'runtime_owner'::regrole`,
	"a role that may more than it needs":                                     `select rolname::text from pg_roles where rolname like 'runtime\_%' and (rolsuper or rolcreaterole or rolcreatedb or (rolreplication or rolbypassrls) and rolname <> 'runtime_relay')`,
	"a role that is a member of another":                                     `select member::regrole::text from pg_auth_members where member::regrole::text like 'runtime\_%'`,
	"a trigger against changes that session_replication_role turns off":      `select tgrelid::regclass::text from pg_trigger where tgname like 'refuse\_%' and tgenabled <> 'A'`,
	"a leaf that may be truncated":                                           `select c.oid::regclass::text from pg_class c join partitioned_leaves l on l.leaf = c.oid where l.append_only and not exists (select from pg_trigger where tgrelid = c.oid and tgname = 'refuse_truncate')`,
	"a leaf that may be updated":                                             `select c.oid::regclass::text from pg_class c join partitioned_leaves l on l.leaf = c.oid where l.append_only and not exists (select from pg_trigger where tgrelid = c.oid and tgname = 'refuse_change')`,
	"a replica identity that is not the key: Sequin reads by it":             `select relname::text from pg_class where oid = 'event_runtime.outbox'::regclass and relreplident <> 'd'`,
	"a publication of more than inserts into the outbox, or not by its root": `select pubname::text from pg_publication where puballtables or not pubinsert or pubupdate or pubdelete or pubtruncate or not pubviaroot`,
	"another table in the publication":                                       `select tablename::text from pg_publication_tables where (pubname, schemaname, tablename) <> ('runtime_outbox_pub', 'event_runtime', 'outbox')`,
	"a key of the outbox that is not of tenant, day and id":                  `select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'event_runtime.outbox'::regclass and contype = 'p' and pg_get_constraintdef(oid) <> 'PRIMARY KEY (tenant_id, recorded_on, event_id)'`,
	"a partitioned table that nobody makes days for":                         `select relname::text from pg_class where relnamespace = 'event_runtime'::regnamespace and relkind = 'p' and not relispartition and relname::text not in (select parent from event_runtime.partitioned_tables)`,
	"days of other bounds than they are named after":                         `select c.relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid where c.relispartition and c.relname ~ '_\d{8}$' and pg_get_expr(relpartbound, c.oid) not like '%' || to_char(to_date(right(c.relname, 8), 'YYYYMMDD'), 'YYYY-MM-DD') || '%'`,
	"a column of time without its zone":                                      `select attrelid::regclass::text from pg_attribute join pg_class on oid = attrelid where relnamespace = 'event_runtime'::regnamespace and atttypid in ('timestamp'::regtype, 'json'::regtype, 'varchar'::regtype, 'bpchar'::regtype) and not attisdropped`,
	"a foreign key that deletes or changes what it belongs to":               `select conname::text from pg_constraint where connamespace = 'event_runtime'::regnamespace and contype = 'f' and (confdeltype <> 'a' or confupdtype <> 'a')`,
	"a constraint that was never checked":                                    `select conname::text from pg_constraint where connamespace = 'event_runtime'::regnamespace and not convalidated`,
	"an index that is not valid":                                             `select indexrelid::regclass::text from pg_index where not indisvalid`,
	"a secret in a table: credentials are references":                        `select attname::text from pg_attribute where attrelid = 'event_runtime.credential_refs'::regclass and attname ~ '(secret|password|pem|private)'`,
}

const leaves = `
create temporary view partitioned_leaves as
select p.parent, p.append_only, t.relid as leaf from event_runtime.partitioned_tables p, pg_partition_tree(('event_runtime.' || p.parent)::regclass) t where t.isleaf`

func TestSchemaKeepsItsRules(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	conn := db.Conn(testenv.Superuser)
	if _, err := conn.Exec(t.Context(), leaves); err != nil {
		t.Fatal(err)
	}
	for rule, sql := range forbidden {
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: %v", rule, values)
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
	}
	for what, sql := range map[string]string{
		"leaves that must not change": `select count(*)::text from partitioned_leaves where append_only having count(*) > 0`,
		"the publication":             `select tablename::text from pg_publication_tables where pubname = '` + migrations.Publication + `'`,
	} {
		var found string
		if err := conn.QueryRow(t.Context(), sql).Scan(&found); err != nil {
			t.Errorf("%s: nothing there to look at: %v", what, err)
		}
	}
}

const restricted = "23001" // restrict_violation

// evidenced has one row in each table that may only grow.
func evidenced(t *testing.T) *testenv.DB {
	t.Helper()
	db := testenv.Postgres(t)
	db.Exec(`insert into event_runtime.tenants (tenant_id, name) values ('acme-bank', 'Acme')`)
	db.Exec(`select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{}')`)
	db.Exec(`insert into event_runtime.audit_ledger values ('acme-bank', 1, now(), 'x', 'x.y', 'x', '{}', sha256('{}'), sha256(''), sha256(''))`)
	db.Exec(`insert into event_runtime.export_batches (batch_id, tenant_id, ecosystem, api, organisation_id, state, reason, items, event_ids, item_hashes, merkle_root, body, body_bytes, body_sha256,
			deadline, oldest, sealed_at, changed_at, owner, token, post_by, superseded_by)
		select e.id, 'acme-bank', 'ofb', 'private', e.id, 'posting', 'age', 1, array[e.id], sha256(''), sha256(''), '', 0, sha256(''), now(), now(), now(), now(), 'x', 1, now(), array[null::uuid]
		  from (select event_id as id from event_runtime.outbox) e`)
	db.Exec(`insert into event_runtime.submission_attempts (batch_id, attempt, outcome, code, posted_at, ended_at) select batch_id, 1, 'receipts', 'x', now(), now() from event_runtime.export_batches`)
	db.Exec(`insert into event_runtime.submission_inquiries (batch_id, attempt, probe, position, event_id, asked_at, answer) select batch_id, 1, 1, 0, batch_id, now(), 'absent' from event_runtime.export_batches`)
	db.Exec(`insert into event_runtime.submission_receipts (received_on, batch_id, attempt, position, tenant_id, event_id, source, status, accepted, received_at)
		select (now() at time zone 'utc')::date, batch_id, 1, 0, tenant_id, batch_id, 'response', 'x', false, now() from event_runtime.export_batches`)
	db.Exec(`insert into event_runtime.reclassifications (tenant_id, recorded_on, event_id, consumer, was, outcome, edition, reclassified_at)
		select tenant_id, recorded_on, event_id, 'pcm-ofb', 'ineligible:api_not_enabled', 'accepted', sha256('x'), now() from event_runtime.outbox`)
	return db
}

func TestEvidenceOnlyGrows(t *testing.T) {
	t.Parallel()
	db := evidenced(t)
	leaf := "outbox_" + all(t, db, `select to_char(recorded_on, 'YYYYMMDD') from event_runtime.outbox`)[0] + "_0"
	day := "submission_receipts_" + all(t, db, `select to_char(received_on, 'YYYYMMDD') from event_runtime.submission_receipts`)[0]
	statements := []string{
		`update event_runtime.audit_ledger set actor = 'y'`,
		`insert into event_runtime.audit_ledger select * from event_runtime.audit_ledger on conflict (chain_id, seq) do update set actor = 'y'`,
		`update event_runtime.outbox set recorded_on = recorded_on - 1`, // would be published as an insert
		`truncate event_runtime.` + leaf, `truncate event_runtime.` + day,
		`delete from event_runtime.` + leaf, `update event_runtime.` + day + ` set status = 'y'`,
		`delete from event_runtime.export_batches`, `truncate event_runtime.export_batches cascade`,
	}
	for _, table := range []string{"outbox", "audit_ledger", "submission_attempts", "submission_inquiries", "submission_receipts", "reclassifications"} {
		column := all(t, db, `select attname::text from pg_attribute where attrelid = ('event_runtime.' || $1)::regclass and attnum > 0 order by attnum limit 1`, table)[0]
		statements = append(statements, fmt.Sprintf(`update event_runtime.%s set %[2]s = %[2]s`, table, column), `delete from event_runtime.`+table, `truncate event_runtime.`+table+` cascade`)
	}
	for name, url := range map[string]string{
		"the superuser":                   db.URL(testenv.Superuser),
		"the superuser without triggers":  with(t, db.URL(testenv.Superuser), "session_replication_role", "replica"),
		"the owner, who may not say that": db.URL("runtime_owner"),
	} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql)
			if code, _ := codeOf(err); code != restricted {
				t.Errorf("%s as %s: got %q, want %s", sql, name, code, restricted)
			}
		}
		_ = conn.Close(t.Context())
	}
	if code, _ := codeOf(try(t, db.URL("runtime_worker"), `set session_replication_role = replica`)); code != "42501" {
		t.Errorf("the worker turns triggers off: got %q, want it refused", code)
	}
}

// How each column of a batch is changed, and which of them may be.
var frozen = map[string]string{
	"batch_id": "gen_random_uuid()", "tenant_id": "'x'", "ecosystem": "'opin'", "api": "'x'", "organisation_id": "gen_random_uuid()", "items": "2", "event_ids": "array[gen_random_uuid()]",
	"item_hashes": "sha256('y')", "merkle_root": "sha256('y')", "body": "'y'", "body_bytes": "7", "body_sha256": "sha256('y')", "sealed_at": "now() + interval '1 s'", "parent_id": "batch_id",
}

var moving = []string{"state", "attempt", "reason", "code", "deadline", "oldest", "changed_at", "not_before", "owner", "token", "posted_at", "first_posted_at", "post_by", "system_id", "timeline", "lsn",
	"ask_at", "ask_probe", "needs_person", "superseded_by"}

func TestWhatIsSealedStaysFrozen(t *testing.T) {
	t.Parallel()
	db := evidenced(t)
	for _, mode := range []string{"origin", "replica"} {
		for column, value := range frozen {
			sql := fmt.Sprintf(`update event_runtime.export_batches set %s = %s`, column, value)
			if code, _ := codeOf(try(t, with(t, db.URL(testenv.Superuser), "session_replication_role", mode), sql)); code != restricted {
				t.Errorf("%s with %s: got %q, want %s", sql, mode, code, restricted)
			}
		}
	}
	exec(t, db.URL("runtime_worker"), `update event_runtime.export_batches set state = 'submit_unconfirmed', attempt = 2, changed_at = now(), ask_at = now(), superseded_by = event_ids`)
	differ(t, "columns of a batch", all(t, db, `select attname::text from pg_attribute where attrelid = 'event_runtime.export_batches'::regclass and attnum > 0 and not attisdropped`),
		append(slices.Collect(maps.Keys(frozen)), moving...))
}

// The guard is exact to the millisecond, and its clock is the database's own
// unless the database says that it is one for tests.
func TestClockGuard(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(clock string, at any) (code, constraint string) {
		return codeOf(try(t, with(t, db.URL("runtime_producer"), "event_runtime.now", clock),
			`select event_runtime.append_event('platform', 'ofb', 'interaction.canary', '{}', event_id => $1::uuid)`, at))
	}
	id := func(at time.Time) string {
		return fmt.Sprintf("%012x", at.UnixMilli())[:8] + "-" + fmt.Sprintf("%012x", at.UnixMilli())[8:] + "-7000-8000-" + fmt.Sprintf("%012x", time.Now().UnixNano()&0xffffffffffff)
	}
	moment := now.Format(time.RFC3339Nano)
	db.Exec(`update event_runtime.settings set test_clock = true`)
	for name, tc := range map[string]struct {
		from time.Duration
		ok   bool
	}{
		"now":                        {0, true},
		"24 hours ago":               {-24 * time.Hour, true},
		"a millisecond too old":      {-24*time.Hour - time.Millisecond, false},
		"5 minutes ahead":            {5 * time.Minute, true},
		"a millisecond too early":    {5*time.Minute + time.Millisecond, false},
		"of another decade entirely": {-20 * 365 * 24 * time.Hour, false},
	} {
		code, constraint := add(moment, id(now.Add(tc.from)))
		if tc.ok && code != "" || !tc.ok && (code != "23514" || constraint != "append_clock_guard") {
			t.Errorf("%s: got %q of %q, want taken: %v", name, code, constraint, tc.ok)
		}
	}
	past := now.Add(-48 * time.Hour)
	if code, constraint := add(past.Format(time.RFC3339Nano), id(now)); constraint != "append_clock_guard" {
		t.Errorf("the test clock is two days behind: got %q, want the id refused", code)
	}
	db.Exec(`update event_runtime.settings set test_clock = false`)
	if code, _ := add(past.Format(time.RFC3339Nano), id(now)); code != "" {
		t.Errorf("a producer chose its own time: got %q, want its clock ignored", code)
	}
	if code, constraint := add(past.Format(time.RFC3339Nano), id(past)); constraint != "append_clock_guard" {
		t.Errorf("a producer chose its own time: got %q, want an old id refused", code)
	}
	err := try(t, db.URL("runtime_producer"), `select event_runtime.append_event('platform', 'ofb', 'interaction.canary', '{}', event_id => $1::uuid)`, id(past))
	if err == nil || !strings.Contains(err.Error(), id(past)[:18]) {
		t.Errorf("got %v, want it to name the id", err)
	}
}

// What can never be delivered never gets in; and the columns that subjects and
// headers are made of hold what the wire can carry.
func TestOutboxRefuses(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	for name, tc := range map[string]struct{ arguments, code string }{
		"a good one":                    {`'acme-bank', 'ofb', 'consent.advanced', '{}'`, ""},
		"a tenant of forty-one letters": {`repeat('a', 41), 'ofb', 'consent.advanced', '{}'`, "23514"},
		"a tenant of forty letters":     {`repeat('a', 40), 'ofb', 'consent.advanced', '{}'`, ""},
		"a tenant with a dot":           {`'acme.bank', 'ofb', 'consent.advanced', '{}'`, "23514"},
		"a tenant with a wildcard":      {`'acme*', 'ofb', 'consent.advanced', '{}'`, "23514"},
		"a tenant that ends a line":     {`E'acme\n', 'ofb', 'consent.advanced', '{}'`, "23514"},
		"no tenant":                     {`null, 'ofb', 'consent.advanced', '{}'`, "23502"},
		"another ecosystem":             {`'acme-bank', 'psd2', 'consent.advanced', '{}'`, "23514"},
		"a type with an empty token":    {`'acme-bank', 'ofb', 'consent..advanced', '{}'`, "23514"},
		"a type with a space":           {`'acme-bank', 'ofb', 'consent advanced', '{}'`, "23514"},
		"a type of 101 letters":         {`'acme-bank', 'ofb', repeat('a', 101), '{}'`, "23514"},
		"a traceparent of another kind": {`'acme-bank', 'ofb', 'consent.advanced', '{}', traceparent => 'x'`, "23514"},
		"a payload beyond 256 KiB":      {`'acme-bank', 'ofb', 'consent.advanced', to_jsonb(repeat('a', 262143))`, "23514"},
		"a payload of 256 KiB":          {`'acme-bank', 'ofb', 'consent.advanced', to_jsonb(repeat('a', 262142))`, ""},
		"an id that is no UUIDv7":       {`'acme-bank', 'ofb', 'consent.advanced', '{}', event_id => overlay(event_runtime.new_event_id()::text placing '4' from 15)::uuid`, "23514"},
		"a year of five digits":         {`'acme-bank', 'ofb', 'consent.advanced', '{}', occurred_at => '10000-01-01 00:00+00'`, "23514"},
		"a year before Christ":          {`'acme-bank', 'ofb', 'consent.advanced', '{}', occurred_at => '0044-03-15 00:00+00 BC'`, "23514"},
	} {
		if code, _ := codeOf(try(t, db.URL(testenv.Superuser), `select event_runtime.append_event(`+tc.arguments+`)`)); code != tc.code {
			t.Errorf("%s: got %q, want %q", name, code, tc.code)
		}
	}
	twice := all(t, db, `select event_runtime.new_event_id()::text`)[0]
	for n, want := range []string{"", "23505"} {
		code, _ := codeOf(try(t, db.URL("runtime_producer"), `select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{}', event_id => $1::uuid)`, twice))
		if code != want {
			t.Errorf("the same id, time %d: got %q, want %q", n+1, code, want)
		}
	}
}
