package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/jackc/pgx/v5"
)

// side is the ordinary connection beside the stream: for the catalog, for the
// slot's lag, and for what must be parked.
type side struct {
	mu   sync.Mutex
	conn *pgx.Conn
	slot string
}

const askWithin = 10 * time.Second

// openSide connects, and makes sure that the publication gives what is wanted.
func openSide(ctx context.Context, url string, p *plan) (*side, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &side{conn: conn, slot: p.slot}
	if err := s.checkPublication(ctx, p); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *side) close(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

const sqlPublication = `
SELECT p.pubinsert, p.pubviaroot,
       (SELECT coalesce(array_agg(t.schemaname || '.' || t.tablename), '{}') FROM pg_publication_tables t WHERE t.pubname = p.pubname)
  FROM pg_publication p WHERE p.pubname = @name`

func (s *side) checkPublication(ctx context.Context, p *plan) error {
	var insert, viaRoot bool
	var tables []string
	err := s.conn.QueryRow(ctx, sqlPublication, pgx.NamedArgs{"name": p.publication}).Scan(&insert, &viaRoot, &tables)
	unfit := func(what string) error {
		return &fault.Error{Code: publicationUnfit.code, Err: fmt.Errorf("publication %s %s", p.publication, what)}
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return unfit("does not exist")
	case err != nil:
		return fmt.Errorf("look at the publication: %w", err)
	case !insert:
		return unfit("publishes no inserts")
	case !viaRoot:
		return unfit("publishes partitions under their own names")
	}
	for _, want := range p.source.IncludeTables {
		if !carries(tables, want) {
			return unfit("does not carry table " + want)
		}
	}
	return nil
}

// A standby has no position to write to.
const sqlLag = `
SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, confirmed_flush_lsn)::bigint,
       coalesce(wal_status IN ('unreserved', 'lost'), false)
  FROM pg_replication_slots WHERE slot_name = @name`

// lag is how much log Postgres keeps for the slot, and whether the next
// checkpoint takes it away.
func (s *side) lag(ctx context.Context) (bytes int64, doomed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	err = s.conn.QueryRow(ctx, sqlLag, pgx.NamedArgs{"name": s.slot}).Scan(&bytes, &doomed)
	if err != nil {
		return 0, false, fmt.Errorf("measure the slot's lag: %w", err)
	}
	return bytes, doomed, nil
}

// catalog is what a description of a table leaves out.
type catalog struct {
	key   map[string]bool         // columns of the primary key
	types map[uint32]message.Type // by the type a column is declared with
}

const (
	sqlPrimaryKey = `
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = any (i.indkey)
 WHERE i.indrelid = @relation AND i.indisprimary`

	// From what a column is declared as, through domains to what they are made of,
	// and from an array to its elements.
	sqlTypes = `
WITH RECURSIVE step AS (
  SELECT oid AS declared, oid, false AS elements, 0 AS depth FROM pg_type WHERE oid = any (@oids::oid[])
  UNION ALL
  SELECT s.declared, coalesce(nullif(t.typbasetype, 0), e.oid), s.elements OR t.typbasetype = 0, s.depth + 1
    FROM step s JOIN pg_type t ON t.oid = s.oid LEFT JOIN pg_type e ON e.typarray = t.oid
   WHERE t.typbasetype <> 0 OR e.oid IS NOT NULL AND NOT s.elements
)
SELECT DISTINCT ON (declared) declared, oid, elements FROM step ORDER BY declared, depth DESC`
)

func (s *side) lookUp(ctx context.Context, relation uint32, oids []uint32) (*catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	c := &catalog{key: map[string]bool{}, types: map[uint32]message.Type{}}
	rows, err := s.conn.Query(ctx, sqlPrimaryKey, pgx.NamedArgs{"relation": relation})
	if err != nil {
		return nil, err
	}
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&name}, func() error { c.key[name] = true; return nil }); err != nil {
		return nil, err
	}
	rows, err = s.conn.Query(ctx, sqlTypes, pgx.NamedArgs{"oids": oids})
	if err != nil {
		return nil, err
	}
	var declared uint32
	var t message.Type
	_, err = pgx.ForEachRow(rows, []any{&declared, &t.OID, &t.Array}, func() error { c.types[declared] = t; return nil })
	return c, err
}
