package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func value[T any](t *testing.T, url, sql string, args ...any) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPostgresIsTheTestsOwn(t *testing.T) {
	t.Parallel()
	a, b := Postgres(t), Postgres(t)
	a.Exec("create table only_in_a ()")
	const there = "select to_regclass('only_in_a') is not null"
	if !value[bool](t, a.URL(Superuser), there) || value[bool](t, b.URL(Superuser), there) {
		t.Error("a table made in one database: want it there and not in the other")
	}
	if !value[bool](t, b.URL(Superuser), "select to_regclass('event_runtime.outbox') is not null") {
		t.Error("got no outbox, want the migrated schema")
	}
}

func TestPostgresRoles(t *testing.T) {
	t.Parallel()
	db := Postgres(t)
	for _, role := range []string{"runtime_owner", "runtime_producer", "runtime_worker", "runtime_relay", "runtime_maintenance", "runtime_readonly"} {
		if got := value[string](t, db.URL(role), "select current_user::text"); got != role {
			t.Errorf("got %s, want %s", got, role)
		}
	}
	if !value[bool](t, db.URL(Superuser), "select rolsuper from pg_roles where rolname = current_user") {
		t.Error("got no superuser")
	}
	var name string
	if err := db.Pool("runtime_worker").QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil || name != db.Name() {
		t.Errorf("got pool in %q and %v, want %q", name, err, db.Name())
	}
}

func TestPostgresGoesWithItsTest(t *testing.T) {
	t.Parallel()
	var db *DB
	t.Run("the test", func(t *testing.T) {
		db = Postgres(t)
		db.Conn("runtime_worker") // what is still connected does not keep it
	})
	if value[bool](t, db.server.url(superuser, Superuser), "select exists (select from pg_database where datname = $1)", db.Name()) {
		t.Error("the database is still there")
	}
}

func TestCloneCopiesRightsAndSettings(t *testing.T) {
	t.Parallel()
	from := Postgres(t)
	from.Exec("grant create on database " + from.Name() + " to runtime_worker")
	from.Exec("alter database " + from.Name() + " set work_mem = '7MB'")
	to := from.Name() + "_b"
	if err := clone(t.Context(), from.server, from.Name(), to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup((&DB{t: t, server: from.server, name: to}).drop)
	if got := value[string](t, from.server.url(to, Superuser), "show work_mem"); got != "7MB" {
		t.Errorf("got work_mem %s, want 7MB", got)
	}
	if !value[bool](t, from.server.url(to, Superuser), "select has_database_privilege('runtime_worker', current_database(), 'create')") {
		t.Error("got no right to create, want the template's")
	}
}

func TestPostgresNeedsMain(t *testing.T) {
	t.Parallel()
	var s session
	if _, _, err := s.shared(t.Context()); err == nil || !strings.Contains(err.Error(), "testenv.Main") {
		t.Errorf("got %v, want it to name testenv.Main", err)
	}
}

// The shared cluster has users in several processes: each session stands for one.
func TestKeeperStaysAsLongAsSomebodyUsesIt(t *testing.T) { // not parallel: it changes the environment
	t.Setenv(DirEnv, filepath.Join(t.TempDir(), "private"))
	t.Setenv(idleEnv, "100ms")
	first, second := joined(t), joined(t)
	if first.hello.Keeper != second.hello.Keeper {
		t.Fatalf("got keepers %d and %d, want one", first.hello.Keeper, second.hello.Keeper)
	}
	first.close()
	value[int](t, second.server.url(superuser, Superuser), "select 1 from pg_sleep(0.3)") // longer than the idle time
	second.close()
	awaitEnd(t)
	if left, _ := filepath.Glob(filepath.Join(os.Getenv(DirEnv), "shared", "cluster")); len(left) > 0 {
		t.Errorf("got %v left", left)
	}
	third := joined(t)
	if third.hello.Keeper == first.hello.Keeper {
		t.Error("got the old keeper, want a new one")
	}
	if err := syscall.Kill(third.hello.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t)
	fourth := joined(t)
	value[int](t, fourth.server.url(superuser, Superuser), "select 1")
	fourth.close()
	awaitEnd(t)
}

func joined(t *testing.T) *session {
	t.Helper()
	s := &session{}
	s.mayKeep.Store(true)
	if err := s.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// awaitEnd waits for the keeper's lock, which it holds as long as it lives.
func awaitEnd(t *testing.T) {
	t.Helper()
	unlock, err := lockFile(filepath.Join(os.Getenv(DirEnv), "shared", "keeper.lock"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestPrivateDirectory(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"others may look": open, "a link": link} {
		if _, err := private(dir); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func BenchmarkClone(b *testing.B) {
	db := Postgres(b)
	s, template, err := process.shared(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	other := &DB{t: b, server: s, name: db.Name() + "_b"}
	for b.Loop() {
		if err := clone(b.Context(), s, template, other.name); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		other.drop()
		b.StartTimer()
	}
}

func BenchmarkPostgres(b *testing.B) {
	for b.Loop() {
		db := Postgres(b)
		db.drop()
	}
}
