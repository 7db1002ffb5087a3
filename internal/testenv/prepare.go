package testenv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Prepare reads the Go source in dir (the tested package's is ".") and prepares
// every constant named sql... against the migrated database, with its @named
// arguments as pgx.NamedArgs makes them. What does not fit the schema fails the
// test at its line. Constants named in except are left out: the test says why.
func Prepare(t testing.TB, db interface{ URL(role string) string }, dir string, except ...string) {
	t.Helper()
	found, err := sqlConstants(dir)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db.URL(Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	unused, done := slices.Clone(except), 0
	for _, c := range found {
		if i := slices.Index(unused, c.name); i >= 0 {
			unused = slices.Delete(unused, i, i+1)
			continue
		}
		done++
		if err := prepareOne(t.Context(), conn, c); err != nil {
			t.Error(err)
		}
	}
	if len(unused) > 0 {
		t.Errorf("left out, but not there: %v", unused)
	}
	if done == 0 {
		t.Errorf("no constant named sql... in %s", dir)
	}
}

func prepareOne(ctx context.Context, conn *pgx.Conn, c constant) error {
	sql, _, err := pgx.NamedArgs{}.RewriteQuery(ctx, conn, c.text, nil)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", place(c.at.Filename, c.at.Line), c.name, err)
	}
	_, err = conn.Prepare(ctx, "", sql)
	if err == nil {
		return nil
	}
	line := c.at.Line
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Position > 0 && c.whole {
		line += linesBefore(sql, int(pg.Position))
	}
	return fmt.Errorf("%s: %s: %w", place(c.at.Filename, line), c.name, err)
}

// linesBefore counts the lines above the position, which counts characters from
// 1. Named arguments are rewritten within their line, so the count holds for the
// source too.
func linesBefore(sql string, position int) int {
	runes := []rune(sql)
	return strings.Count(string(runes[:min(position-1, len(runes))]), "\n")
}

func place(file string, line int) string { return fmt.Sprintf("%s:%d", filepath.Base(file), line) }
