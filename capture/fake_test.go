package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// fakeDB is an outbox in memory, for what needs no real one: the order of things
// on the wire. What reaches it has passed outbox.Prepare, schema and all.
type fakeDB struct {
	mu     sync.Mutex
	rows   []fakeRow       // committed; guarded by mu
	ids    map[string]bool // of rows; guarded by mu
	groups []int           // rows of each transaction; guarded by mu
	begin  func(context.Context) error
	refuse func(fakeRow) error         // of the INSERT
	commit func(context.Context) error // before the commit
	after  func(context.Context) error // after it: an error is a commit that was not heard of
	stored chan fakeRow
	up     atomic.Bool // for the hooks
}

type fakeRow struct {
	id, tenant, trace, source, correlation string
	event.Interaction
}

func newFakeDB() *fakeDB { return &fakeDB{ids: map[string]bool{}, stored: make(chan fakeRow, 10_000)} }

func (db *fakeDB) Begin(ctx context.Context) (pgx.Tx, error) {
	if db.begin != nil {
		if err := db.begin(ctx); err != nil {
			return nil, err
		}
	}
	return &fakeTx{db: db}, ctx.Err()
}

func (db *fakeDB) all() []fakeRow {
	db.mu.Lock()
	defer db.mu.Unlock()
	return append([]fakeRow(nil), db.rows...)
}

type fakeTx struct {
	pgx.Tx
	db   *fakeDB
	rows []fakeRow
}

// SendBatch reads the statement that has events.
func (tx *fakeTx) SendBatch(_ context.Context, b *pgx.Batch) pgx.BatchResults {
	for _, q := range b.QueuedQueries {
		named := q.Arguments[0].(pgx.NamedArgs)
		ids, _ := named["event_id"].([]event.ID)
		for i, id := range ids {
			row, err := rowOf(named, i, id)
			if tx.db.refuse != nil && err == nil {
				err = tx.db.refuse(row)
			}
			if err != nil {
				return fakeResults{err: err}
			}
			tx.rows = append(tx.rows, row)
		}
	}
	return fakeResults{}
}

type fakeResults struct {
	pgx.BatchResults
	err error
}

func (r fakeResults) Close() error { return r.err }

func rowOf(named pgx.NamedArgs, i int, id event.ID) (fakeRow, error) {
	text := func(name string) string {
		if p := named[name].([]*string)[i]; p != nil {
			return *p
		}
		return ""
	}
	row := fakeRow{
		id: fmt.Sprint(id), tenant: named["tenant_id"].([]string)[i],
		trace: text("traceparent"), source: text("source"), correlation: text("correlation_id"),
	}
	return row, json.Unmarshal([]byte(text("payload")), &row.Interaction)
}

func (tx *fakeTx) Commit(ctx context.Context) error {
	db := tx.db
	if db.commit != nil {
		if err := db.commit(ctx); err != nil {
			return err
		}
	}
	if err := db.keep(tx.rows); err != nil {
		return err
	}
	if db.after != nil {
		return db.after(ctx)
	}
	return nil
}

// keep commits all of rows or none.
func (db *fakeDB) keep(rows []fakeRow) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, row := range rows {
		if db.ids[row.id] {
			return &pgconn.PgError{Code: uniqueViolation}
		}
	}
	for _, row := range rows {
		db.ids[row.id] = true
		db.stored <- row
	}
	db.rows, db.groups = append(db.rows, rows...), append(db.groups, len(rows))
	return nil
}

func (tx *fakeTx) Rollback(context.Context) error { return nil }

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

var errAway = errors.New("postgres is away")

// blocked is a pool that has no connection to give.
func blocked(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// logged collects log lines.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) lines(name string) (lines []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, `"event":"`+name+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bench is a recorder over a fake, and what it logged.
type bench struct {
	*Recorder
	t   testing.TB
	db  *fakeDB
	log *logged
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, db: newFakeDB(), log: &logged{}}
	cfg := Config{TenantID: "acme", Ecosystem: "ofb", Source: "test", Wait: time.Minute, Log: zerolog.New(b.log)}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if b.Recorder, err = New(b.db, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

func wait(d time.Duration) func(*Config) { return func(c *Config) { c.Wait = d } }

// one waits for a row and says that no other is there.
func (b *bench) one() fakeRow {
	b.t.Helper()
	select {
	case row := <-b.db.stored:
		if got := len(b.db.all()); got != 1 {
			b.t.Fatalf("got %d rows, want 1", got)
		}
		return row
	case <-b.t.Context().Done():
	case <-time.After(10 * time.Second): // only when the test fails anyway
	}
	b.t.Fatal("no row came")
	return fakeRow{}
}

func (b *bench) none() {
	b.t.Helper()
	if got := b.db.all(); len(got) != 0 {
		b.t.Fatalf("got %d rows, want none: %+v", len(got), got)
	}
}
