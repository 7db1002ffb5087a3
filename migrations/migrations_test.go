package migrations_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// named is the address of another database of the cluster, which it makes.
func named(t *testing.T, c *testenv.PostgresServer, name, more string) string {
	t.Helper()
	c.Exec("create database " + name + " " + more)
	return at(t, c, name, testenv.Superuser)
}

func at(t *testing.T, c *testenv.PostgresServer, name, role string) string {
	t.Helper()
	u, err := url.Parse(c.URL(role))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

var roles = []string{"runtime_maintenance", "runtime_owner", "runtime_producer", "runtime_readonly", "runtime_relay", "runtime_worker"}

// A server that event-runtime has never seen, step by step.
func TestFromAnEmptyServer(t *testing.T) {
	t.Parallel()
	c := testenv.Cluster(t, testenv.Raw(), testenv.Setting("wal_level", "replica"))

	t.Run("who may not make roles is told who must", func(t *testing.T) {
		c.Exec("create role plain login")
		err := migrations.Up(t.Context(), c.URL("plain"))
		if err == nil || !strings.Contains(err.Error(), "migrate --print-roles") {
			t.Fatalf("got %v, want what to do", err)
		}
		for _, role := range roles {
			if !strings.Contains(err.Error(), role) {
				t.Errorf("got %v, want it to name %s", err, role)
			}
		}
	})
	t.Run("an old server is refused", func(t *testing.T) {
		old := named(t, c, "old", "")
		exec(t, old, `create schema fake; create function fake.current_setting(text) returns text language sql return '140005'`)
		err := migrations.Up(t.Context(), with(t, old, "search_path", "fake,pg_catalog"))
		if err == nil || err.Error() != "postgres 14.5 is too old: event-runtime needs 15 or newer" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("roles are made once, from four databases at the same time", func(t *testing.T) {
		urls := make([]string, 4)
		for n := range urls {
			urls[n] = named(t, c, fmt.Sprintf("roles%d", n), "")
		}
		for range 5 {
			for _, role := range roles {
				c.Exec("drop role if exists " + role)
			}
			together(t, urls, func(url string) error { return migrations.Roles(t.Context(), url) })
			if got := all(t, c, `select rolname from pg_roles where rolname like 'runtime_%' order by 1`); !slices.Equal(got, roles) {
				t.Fatalf("got roles %v, want %v", got, roles)
			}
		}
	})
	t.Run("four migrations of one database at the same time", func(t *testing.T) {
		target := named(t, c, "together", "")
		together(t, []string{target, target, target, target}, func(url string) error { return migrations.UpWith(t.Context(), url, migrations.Options{DaysAhead: 2}) })
		versions := allAt(t, target, `select version_id::text from event_runtime_migrations where version_id > 0 order by id`)
		if len(versions) == 0 || len(slices.Compact(slices.Clone(versions))) != len(versions) {
			t.Fatalf("got versions %v, want each once", versions)
		}
	})
	t.Run("the owner migrates a database of its own", func(t *testing.T) {
		named(t, c, "owned", "owner runtime_owner")
		if err := migrations.UpWith(t.Context(), at(t, c, "owned", "runtime_owner"), migrations.Options{DaysAhead: 1}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("who may not be the owner is refused", func(t *testing.T) {
		if err := migrations.Up(t.Context(), c.URL("runtime_worker")); err == nil || !strings.Contains(err.Error(), "runtime_owner") {
			t.Fatalf("got %v, want it to name the role that is needed", err)
		}
	})
	t.Run("twice is once, and 14 days are ahead", func(t *testing.T) { upTwice(t, named(t, c, "twice", "")) })
	t.Run("a slot needs logical WAL", func(t *testing.T) {
		made, err := migrations.EnsureSlot(t.Context(), c.URL(testenv.Superuser), migrations.Slot)
		if made || err == nil || !strings.Contains(err.Error(), `wal_level is "replica"`) || !strings.Contains(err.Error(), "ALTER SYSTEM SET wal_level = logical") {
			t.Fatalf("got %v, %v, want the setting and the statement that mends it", made, err)
		}
	})
}

// together does one thing at once from several places.
func together(t *testing.T, urls []string, do func(url string) error) {
	t.Helper()
	var g errgroup.Group
	for _, url := range urls {
		g.Go(func() error { return do(url) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func with(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func exec(t *testing.T, url, sql string, args ...any) {
	t.Helper()
	if err := try(t, url, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func try(t *testing.T, url, sql string, args ...any) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), sql, args...)
	return err
}

// catalogue is everything that a migration could have changed.
const catalogue = `
select format('relation %s %s %s', c.relkind, c.relname, c.relacl) from pg_class c where relnamespace = 'event_runtime'::regnamespace
union all select format('function %s %s', p.oid::regprocedure, p.proacl) from pg_proc p where pronamespace = 'event_runtime'::regnamespace
union all select format('trigger %s %s %s', tgrelid::regclass, tgname, tgenabled) from pg_trigger where not tgisinternal
union all select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'event_runtime'::regnamespace
union all select format('version %s', version_id) from event_runtime_migrations
union all select format('day %s %s %s', parent, day, modulus) from event_runtime.partition_days
union all select format('settings %s', s) from event_runtime.settings s
union all select format('role %s %s', setrole::regrole, setconfig) from pg_db_role_setting
order by 1`

func upTwice(t *testing.T, url string) {
	t.Helper()
	before := time.Now().UTC()
	if err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	first := allAt(t, url, catalogue)
	if err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if before.YearDay() != time.Now().UTC().YearDay() {
		return // midnight between the two makes a day more
	}
	if second := allAt(t, url, catalogue); !slices.Equal(first, second) {
		t.Errorf("the second run changed something:\n%s\n---\n%s", strings.Join(first, "\n"), strings.Join(second, "\n"))
	}
	parents := allAt(t, url, `select parent from event_runtime.partitioned_tables order by 1`)
	if want := []string{"consumer_idempotency", "outbox", "submission_receipts"}; !slices.Equal(parents, want) {
		t.Fatalf("got partitioned tables %v, want %v", parents, want)
	}
	for _, parent := range parents {
		var want []string
		for ahead := -1; ahead <= 14; ahead++ {
			want = append(want, before.AddDate(0, 0, ahead).Format(time.DateOnly))
		}
		if got := allAt(t, url, `select day::text from event_runtime.partition_days where parent = $1 order by day`, parent); !slices.Equal(got, want) {
			t.Errorf("%s: got days %v, want %v", parent, got, want)
		}
	}
}

func TestDaysAreMadeOnceAndBesideProducers(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	db.Exec(`insert into event_runtime.tenants (tenant_id, name) values ('acme-bank', 'Acme')`)
	open, err := db.Conn("runtime_producer").Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Exec(t.Context(), `select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{}')`); err != nil {
		t.Fatal(err)
	}
	maintenance := with(t, db.URL("runtime_maintenance"), "lock_timeout", "2s")
	today := time.Now().UTC()
	ensure := func(days int) string {
		t.Helper()
		return allAt(t, maintenance, `select event_runtime.ensure_days($1::date, $2::date)::text`, today, today.AddDate(0, 0, days))[0]
	}
	if got := ensure(3); got != "6" {
		t.Errorf("got %s tables, want two days of three", got)
	}
	if got := ensure(3); got != "0" {
		t.Errorf("again: got %s tables, want none", got)
	}
	if err := open.Commit(t.Context()); err != nil {
		t.Errorf("the producer: %v", err)
	}
	if got := all(t, db, `select count(*)::text from pg_inherits where inhparent = 'event_runtime.outbox'::regclass`); got[0] != "5" {
		t.Errorf("got %v days of the outbox, want -1 to 3", got)
	}
}

// A day keeps the leaves it was made with.
func TestModulusCountsFromTheNextDayOn(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	if err := migrations.UpWith(t.Context(), db.URL(testenv.Superuser), migrations.Options{DaysAhead: 2, HashModulus: 3}); err != nil {
		t.Fatal(err)
	}
	got := all(t, db, `select modulus::text from event_runtime.partition_days where parent = 'outbox' order by day`)
	if want := []string{"1", "1", "1", "3"}; !slices.Equal(got, want) {
		t.Errorf("got %v leaves by day, want %v", got, want)
	}
	if err := migrations.UpWith(t.Context(), db.URL(testenv.Superuser), migrations.Options{HashModulus: 65}); err == nil {
		t.Error("65 leaves: got no error")
	}
}

func TestSlotIsMadeOnce(t *testing.T) {
	t.Parallel()
	c := testenv.Cluster(t)
	for n, want := range []bool{true, false} {
		made, err := migrations.EnsureSlot(t.Context(), c.URL(testenv.Superuser), migrations.Slot)
		if err != nil || made != want {
			t.Fatalf("call %d: got %v, %v, want %v", n, made, err, want)
		}
	}
	t.Run("four at the same time", func(t *testing.T) {
		url := c.URL(testenv.Superuser)
		made := make(chan bool, 4)
		together(t, []string{url, url, url, url}, func(url string) error {
			one, err := migrations.EnsureSlot(t.Context(), url, "another_slot")
			made <- one
			return err
		})
		close(made)
		n := 0
		for one := range made {
			if one {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of them say that they made it, want one", n)
		}
	})
	if got := all(t, c, `select slot_name || ' ' || plugin || ' ' || temporary from pg_replication_slots order by 1`); !slices.Equal(got, []string{"another_slot pgoutput false", migrations.Slot + " pgoutput false"}) {
		t.Errorf("got slots %v", got)
	}
}

func TestProducersDoNotHoldTheSlotBack(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	if got := allAt(t, db.URL("runtime_producer"), `show idle_in_transaction_session_timeout`); got[0] != "1min" {
		t.Errorf("got %s, want a minute", got[0])
	}
	if got := allAt(t, db.URL("runtime_relay"), `show idle_in_transaction_session_timeout`); got[0] != "0" {
		t.Errorf("the relay: got %s, want none", got[0])
	}
}

// Everything here changes roles, which belong to a whole server.
func TestWhatAnOperatorSetStays(t *testing.T) {
	t.Parallel()
	c := testenv.Cluster(t)
	show := func() string {
		return allAt(t, c.URL("runtime_producer"), `show idle_in_transaction_session_timeout`)[0]
	}
	c.Exec(`alter role runtime_producer set idle_in_transaction_session_timeout = '300ms'`)
	if err := migrations.Roles(t.Context(), c.URL(testenv.Superuser)); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "300ms" {
		t.Errorf("got %s, want what the operator said", got)
	}
	t.Run("and it ends a transaction that was left open", func(t *testing.T) {
		tx, err := c.Conn("runtime_producer").Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', '{}')`); err != nil {
			t.Fatal(err)
		}
		_, err = tx.Conn().WaitForNotification(t.Context()) // the server speaks first
		if code, _ := codeOf(err); code != "25P03" {
			t.Errorf("got %v, want the session to be ended", err)
		}
		if got := all(t, c, `select count(*)::text from event_runtime.outbox`); got[0] != "0" {
			t.Errorf("got %s events, want the transaction undone", got[0])
		}
	})
	c.Exec(`alter role runtime_producer reset idle_in_transaction_session_timeout`)
	if err := migrations.Roles(t.Context(), c.URL(testenv.Superuser)); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "1min" {
		t.Errorf("after it was forgotten: got %s, want a minute", got)
	}
}

// codeOf is the SQLSTATE and the constraint of a refusal.
func codeOf(err error) (code, constraint string) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "", ""
	}
	return pg.Code, pg.ConstraintName
}
