package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	superuser    = "postgres"
	passwordName = "superuser.password"
)

// password is the superuser's, made with the directory. It is written before
// initdb runs, so that no cluster ever exists whose password is unknown.
func password(dir string) (string, error) {
	path := filepath.Join(dir, passwordName)
	text, err := os.ReadFile(path)
	if err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read password: %w", err)
	}
	secret := rand.Text()
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep password: %w", err)
	}
	return secret, nil
}

// madeBy is the major version a data directory needs; 0 when there is none yet.
func madeBy(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of the data directory: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// initialise makes the data directory under another name and then renames it: a
// crash in the middle leaves nothing that looks like a cluster.
func (s site) initialise(secret string, durable bool) error {
	unfinished, file := s.data()+".new", filepath.Join(s.server(), "initdb.password")
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("remove unfinished data directory: %w", err)
	}
	if err := os.MkdirAll(s.server(), 0o700); err != nil {
		return fmt.Errorf("make server directory: %w", err)
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password for initdb: %w", err)
	}
	defer func() { _ = os.Remove(file) }()
	if err := s.own(); err != nil {
		return err
	}
	if err := s.initdb(filepath.Base(unfinished), filepath.Base(file), durable); err != nil {
		return err
	}
	if err := os.Rename(unfinished, s.data()); err != nil {
		return fmt.Errorf("name data directory: %w", err)
	}
	return nil
}

func (s site) initdb(name, passwordFile string, durable bool) error {
	cmd, started, err := s.command("initdb", func(server string) []string {
		args := []string{
			"--pgdata=" + filepath.Join(server, name), "--pwfile=" + filepath.Join(server, passwordFile),
			"--username=" + superuser, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
		}
		if !durable {
			return append(args, "--no-sync")
		}
		return append(args, "--data-checksums")
	})
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := Spawn(cmd, syscall.SIGKILL)
	started()
	if err == nil {
		err = p.Err()
	}
	if err != nil {
		return fmt.Errorf("initdb as %s: %w\n%s", s.user.name, err, out.String())
	}
	return nil
}
