package migrations_test

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// database is anything that is reached at an address.
type database interface{ URL(role string) string }

// all reads the rows of a query as the superuser, one column as one string.
func all(t *testing.T, db database, sql string, args ...any) []string {
	t.Helper()
	return allAt(t, db.URL(testenv.Superuser), sql, args...)
}

func allAt(t *testing.T, url, sql string, args ...any) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return found
}
