package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/finnest/event-runtime/internal/local"
)

const (
	database  = "event_runtime" // in a cluster of the test's own
	superuser = "postgres"
	keepDays  = 2 // prepared directories are dropped when as old as that
)

// prepared gives a stopped data directory to copy from: freshly made, or with
// the schema in it. The first process to ask makes it; the others wait.
func prepared(ctx context.Context, migrated bool) (string, error) {
	root, key, err := cacheKey(ctx, migrated)
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(root, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(root, key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unfinished := dir + ".new"
	if err := discard(ctx, unfinished); err != nil { // a process died making it
		return "", err
	}
	if err := prepare(ctx, unfinished, migrated); err != nil {
		return "", fmt.Errorf("prepare a cluster: %w", err)
	}
	dropOld(root)
	return dir, os.Rename(unfinished, dir)
}

func cacheKey(ctx context.Context, migrated bool) (root, key string, err error) {
	base, err := home()
	if err != nil {
		return "", "", err
	}
	root = filepath.Join(base, "prepared")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", "", err
	}
	version, err := local.PostgresVersion(ctx)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256([]byte(version))
	key = "raw-" + hex.EncodeToString(sum[:4])
	if migrated {
		schema, err := schemaKey(time.Now())
		if err != nil {
			return "", "", err
		}
		key = "migrated-" + hex.EncodeToString(sum[:4]) + "-" + schema
	}
	return root, key, nil
}

// discard removes a cluster's directory, and ends first what may still work there.
func discard(ctx context.Context, dir string) error {
	if err := local.EndPostgres(ctx, dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func prepare(ctx context.Context, dir string, migrated bool) error {
	p, err := local.StartPostgres(ctx, local.PostgresConfig{Dir: dir, Trust: true})
	if err != nil {
		return err
	}
	if migrated {
		err = prepareSchema(ctx, p)
	}
	p.Stop(ctx)
	for _, name := range []string{"lock", "port", "postgres.log"} { // each copy has its own
		_ = os.Remove(filepath.Join(dir, name))
	}
	return err
}

func prepareSchema(ctx context.Context, p *local.Postgres) error {
	conn, err := pgx.Connect(ctx, p.URL(superuser, ""))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+database)
	_ = conn.Close(ctx)
	if err != nil {
		return err
	}
	return migrate(ctx, p.URL(database, ""))
}

// dropOld removes what no process looks for any more: the day is in the name.
func dropOld(root string) {
	entries, _ := filepath.Glob(filepath.Join(root, "migrated-*"))
	for _, entry := range entries {
		info, err := os.Stat(entry)
		if err == nil && time.Since(info.ModTime()) > keepDays*24*time.Hour {
			_ = os.RemoveAll(entry)
		}
	}
}
