package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/finnest/event-runtime/internal/testenv/skip"
)

func start(t *testing.T, cfg PostgresConfig) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context())) })
	return p
}

func query[T any](t *testing.T, p *Postgres, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL("postgres", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func exec1(t *testing.T, p *Postgres, sql string) {
	t.Helper()
	query[int](t, p, "with done as ("+sql+" returning 1) select count(*) from done")
}

func TestPostgresKeepsItsRowsAndItsPort(t *testing.T) {
	t.Parallel()
	for name, durable := range map[string]bool{"durable": true, "for tests": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := PostgresConfig{Dir: t.TempDir(), Durable: durable}
			p := start(t, cfg)
			port := p.Port()
			create(t, p)
			for rows, end := range []func(*Postgres){stop, (*Postgres).Kill, (*Postgres).Kill} {
				exec1(t, p, "insert into kept values ('row')")
				end(p)
				p = start(t, cfg)
				if got := query[int](t, p, "select count(*) from kept"); got != rows+1 {
					t.Errorf("got %d rows, want %d", got, rows+1)
				}
				if p.Port() != port {
					t.Errorf("got port %d, want %d", p.Port(), port)
				}
			}
		})
	}
}

func stop(p *Postgres) { p.Stop(context.Background()) }

func create(t *testing.T, p *Postgres) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL("postgres", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "create table kept (what text)"); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	p := start(t, PostgresConfig{Dir: t.TempDir(), Extra: map[string]string{"max_connections": "17", "cluster_name": "it's"}})
	for name, want := range map[string]string{
		"wal_level": "logical", "fsync": "off", "max_connections": "17", "cluster_name": "it's",
		"listen_addresses": loopback, "unix_socket_directories": "", "max_slot_wal_keep_size": "4GB",
	} {
		if got := query[string](t, p, "select current_setting('"+name+"')"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	durable := settings(PostgresConfig{Durable: true}, 1)
	if _, off := durable["fsync"]; off {
		t.Error("got fsync in the settings of a durable cluster, want the server's default")
	}
}

func TestPostgresWantsAPassword(t *testing.T) {
	t.Parallel()
	for name, trust := range map[string]bool{"trusting": true, "strict": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, PostgresConfig{Dir: t.TempDir(), Trust: trust})
			query[int](t, p, "select 1")
			conn, err := pgx.Connect(t.Context(), p.URL("postgres", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(t.Context()) }()
			if _, err := conn.Exec(t.Context(), "create role someone login"); err != nil {
				t.Fatal(err)
			}
			if got := letIn(t, p, "someone", ""); got != trust {
				t.Errorf("role without a password: got in %v, want %v", got, trust)
			}
			if letIn(t, p, "postgres", "wrong") {
				t.Error("superuser with a wrong password: got in, want refused")
			}
			if _, err := conn.Exec(t.Context(), "alter role someone password '"+p.passwordOf("someone")+"'"); err != nil {
				t.Fatal(err)
			}
			if !letIn(t, p, "someone", p.passwordOf("someone")) {
				t.Error("role with its own password: refused, want in")
			}
		})
	}
}

func letIn(t *testing.T, p *Postgres, user, password string) bool {
	t.Helper()
	cfg, err := pgx.ParseConfig(p.URL("postgres", user))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = password
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		return false
	}
	_ = conn.Close(t.Context())
	return true
}

func TestPostgresBelowAPrivateDirectoryWithALongPath(t *testing.T) {
	t.Parallel()
	private := filepath.Join(t.TempDir(), "private")
	dir := filepath.Join(private, strings.Repeat("long", 20), strings.Repeat("path", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if len(dir) <= 107 {
		t.Fatalf("got a path of %d bytes, want more than 107", len(dir))
	}
	query[int](t, start(t, PostgresConfig{Dir: dir}), "select 1")
}

// One directory is used by one account after the other: the fallback must not
// make a cluster that the next start cannot open.
func TestPostgresAsTheDatabaseUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip.Test(t, "only root can give its rights away")
	}
	fallback := func(binaries) (account, error) { return asDatabaseUser(errors.New("refused")) }
	if _, err := fallback(binaries{}); err != nil {
		skip.Test(t, "%v", err)
	}
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, choose := range []func(binaries) (account, error){fallback, chooseAccount, fallback} {
		p, err := startAs(t.Context(), PostgresConfig{Dir: dir}, choose)
		if err != nil {
			t.Fatal(err)
		}
		query[int](t, p, "select 1")
		p.Stop(t.Context())
	}
}

func TestPostgresLeftBehind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		leave   func(*Postgres)
		adopted bool
	}{
		"is adopted when it answers":            {func(*Postgres) {}, true},
		"is ended when it does not":             {(*Postgres).Pause, false},
		"leaves orphans that hold its memory":   {killPostmaster, false},
		"is gone and its pid file means no one": {(*Postgres).Kill, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first := start(t, PostgresConfig{Dir: dir})
			c.leave(first)
			first.claim.Release() // as the death of its owner would
			second := start(t, PostgresConfig{Dir: dir})
			query[int](t, second, "select 1")
			if adopted := second.PID() == first.PID(); adopted != c.adopted {
				t.Errorf("got adopted %v, want %v", adopted, c.adopted)
			}
			second.Stop(t.Context())
			wantGone(t, first.PID())
		})
	}
}

func killPostmaster(p *Postgres) {
	for _, pid := range p.processes() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // or the others would leave by themselves
	}
	_ = p.proc.Signal(syscall.SIGKILL)
}

func TestPostgresIsRefusedWhereOneIsAtWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, PostgresConfig{Dir: dir})
	_, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v, want %v with the owner", err, ErrInUse)
	}
}

func TestPostgresDiesWithItsParent(t *testing.T) {
	t.Parallel()
	parent, lines := startRole(t, "postgres "+t.TempDir())
	postmaster := readPID(t, lines)
	wantAlive(t, postmaster)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, postmaster)
}

func TestPostgresPaused(t *testing.T) {
	t.Parallel()
	p := start(t, PostgresConfig{Dir: t.TempDir()})
	p.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if conn, err := pgx.Connect(ctx, p.URL("postgres", "")); err == nil {
		_ = conn.Close(ctx)
		t.Error("a paused server answered")
	}
	p.Resume()
	query[int](t, p, "select 1")
}

func TestPostgresPortTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	taken := other.Addr().(*net.TCPAddr).Port
	if _, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir, Port: taken}); !errors.Is(err, errPortTaken) {
		t.Fatalf("a port asked for: got %v, want %v", err, errPortTaken)
	}
	if p := start(t, PostgresConfig{Dir: dir}); p.Port() == taken { // the directory remembers it
		t.Errorf("got port %d, want another one", taken)
	}
}

func TestPostgresSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := StartPostgres(t.Context(), PostgresConfig{Dir: t.TempDir(), Extra: map[string]string{"shared_preload_libraries": "no_such_library"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_library") {
		t.Errorf("got %v, want the server's own words", err)
	}
}

func TestPostgresWithAnothersPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(start(t, PostgresConfig{Dir: dir}))
	if err := os.WriteFile(filepath.Join(dir, passwordName), []byte("another's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), passwordName) {
		t.Errorf("got %v, want it to name the file", err)
	}
}

func TestPostgresStartIsCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartPostgres(ctx, PostgresConfig{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestPostgresMissing(t *testing.T) { // not parallel: it changes the environment
	t.Setenv(EnvBin, t.TempDir())
	_, err := StartPostgres(t.Context(), PostgresConfig{Dir: t.TempDir()})
	for _, want := range []string{os.Getenv(EnvBin), "apt-get install postgresql-15", EnvBin} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %q", err, want)
		}
	}
}
