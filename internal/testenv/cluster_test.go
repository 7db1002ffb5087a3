package testenv

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestClusterComesBack(t *testing.T) {
	t.Parallel()
	c := Cluster(t)
	c.Exec("create table kept (what text)")
	port := c.Port()
	for _, end := range []func(){c.Stop, c.Kill} {
		c.Exec("insert into kept values ('row')")
		end()
		<-c.Done()
		c.Start()
	}
	if got := value[int](t, c.URL(Superuser), "select count(*) from kept"); got != 2 {
		t.Errorf("got %d rows, want 2", got)
	}
	if c.Port() != port {
		t.Errorf("got port %d, want %d", c.Port(), port)
	}
	if got := value[string](t, c.URL("runtime_worker"), "select current_user::text"); got != "runtime_worker" {
		t.Errorf("got %s, want the migrated roles", got)
	}
}

func TestClusterHoldsASlot(t *testing.T) {
	t.Parallel()
	c := Cluster(t, Setting("max_slot_wal_keep_size", "32MB"))
	c.Exec("select pg_create_logical_replication_slot('s', 'pgoutput')")
	if got := value[string](t, c.URL(Superuser), "show max_slot_wal_keep_size"); got != "32MB" {
		t.Errorf("got %s, want 32MB", got)
	}
}

func TestClusterRaw(t *testing.T) {
	t.Parallel()
	c := Cluster(t, Raw(), Setting("wal_level", "replica"))
	if value[bool](t, c.URL(Superuser), "select exists (select from pg_namespace where nspname = 'event_runtime')") {
		t.Error("got the schema, want none")
	}
	if got := value[string](t, c.URL(Superuser), "show wal_level"); got != "replica" {
		t.Errorf("got %s, want replica", got)
	}
}

func TestClusterPaused(t *testing.T) {
	t.Parallel()
	c := Cluster(t, Raw())
	answered := make(chan error, 1)
	conn := c.Conn(Superuser)
	c.Pause()
	go func() { _, err := conn.Exec(t.Context(), "select 1"); answered <- err }()
	select {
	case err := <-answered:
		t.Fatalf("a paused server answered: %v", err)
	default: // it may still be on its way there; what counts is that it is answered later
	}
	c.Resume()
	if err := <-answered; err != nil {
		t.Errorf("got %v after resuming, want the answer", err)
	}
}

func TestClusterWithAFullDisk(t *testing.T) {
	t.Parallel()
	c := Cluster(t, Raw(), OnTmpfs(128<<20), Setting("max_wal_size", "32MB"))
	c.Exec("create table filled (what text)")
	conn := c.Conn(Superuser)
	c.FillDisk()
	_, err := conn.Exec(t.Context(), "insert into filled select repeat(md5(i::text), 100) from generate_series(1, 20000) i")
	var pg *pgconn.PgError
	if err == nil || errors.As(err, &pg) && pg.Code != "53100" {
		t.Errorf("got %v, want a full disk", err)
	}
	c.FreeDisk()
	c.Stop()
	c.Start()
	c.Exec("insert into filled values ('again')")
}

func TestFillDiskSparesTheDiskOfEverybody(t *testing.T) {
	t.Parallel()
	if isMount(t.TempDir()) {
		t.Error("got a mount, want none")
	}
}

func BenchmarkCluster(b *testing.B) {
	for b.Loop() {
		Cluster(b).Kill()
	}
}
