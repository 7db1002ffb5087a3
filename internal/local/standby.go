package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CloneStandby copies a running cluster into dir, as a standby that streams from
// it once it is started there. It has the primary's superuser and password.
func CloneStandby(ctx context.Context, primary *Postgres, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("clone a standby: %w", err)
	}
	to := site{dir: dir, bin: primary.site.bin.real(), user: primary.site.user}
	if err := os.MkdirAll(to.server(), 0o700); err != nil {
		return fmt.Errorf("clone a standby: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, passwordName), []byte(primary.secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("clone a standby: %w", err)
	}
	if err := to.own(); err != nil {
		return fmt.Errorf("clone a standby: %w", err)
	}
	if err := to.baseBackup(ctx, primary); err != nil {
		return fmt.Errorf("clone a standby: %w", err)
	}
	return nil
}

// real is the directory that the server's program is really in: the one it was
// found in may hold links to some of them only.
func (b binaries) real() binaries {
	if path, err := filepath.EvalSymlinks(b.tool("postgres")); err == nil {
		b.dir = filepath.Dir(path)
	}
	return b
}

func (s site) baseBackup(ctx context.Context, primary *Postgres) error {
	cmd, started, err := s.command("pg_basebackup", func(server string) []string {
		return []string{"--pgdata=" + filepath.Join(server, "data"), "--dbname=" + primary.URL(superuser, ""), "--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf", "--no-sync"}
	})
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := Spawn(cmd, syscall.SIGKILL)
	started()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = p.Signal(syscall.SIGKILL) })()
	if err := p.Err(); err != nil {
		return fmt.Errorf("pg_basebackup as %s: %w\n%s", s.user.name, err, out.String())
	}
	return nil
}
