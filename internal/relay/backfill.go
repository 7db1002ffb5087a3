package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// A backfill reads a table page by page while changes go on. Its state is in the
// log: each page is followed by a marker, which says where the page began.
//
//	request ──▶ read a page, write its marker ──▶ marker comes back ──▶ emit the page,
//	                     ▲                              │               without the rows that
//	                     └────────── more pages ────────┘               changed meanwhile
//
// The slot is confirmed behind a marker only when its page is safe and the next
// marker is written, so a relay that takes over finds the last one, reads that
// page again and goes on. What comes twice has the same idempotency key.
const (
	backfillRequest = "event-runtime.backfill.requested"
	backfillMarker  = "event-runtime.backfill.read"
)

// marker is what stands in the log.
type marker struct {
	Backfill uuid.UUID `json:"backfill"`
	Sink     string    `json:"sink"`
	Table    string    `json:"table"`           // schema.table
	After    []string  `json:"after,omitempty"` // the primary key in front of the page; none: its first row
	Page     uuid.UUID `json:"page"`            // which reading of the page; none in a request
}

// readMarker is not ok for what anybody else may have written under our name.
func readMarker(content []byte) (m marker, ok bool) {
	err := json.Unmarshal(content, &m)
	return m, err == nil
}

// page is one page that waits for its marker to come back.
type page struct {
	marker
	table   *table
	at      int64 // when it was read, as Postgres counts
	rows    [][]pgoutput.Value
	last    []string        // the primary key of its last row
	more    bool            // rows came behind it
	changed map[string]bool // rows whose change is delivered instead
}

// backfills are those under way in this session.
type backfills struct {
	pages map[uuid.UUID]*page
	from  *reader
}

// saw notes a change that the sink gets: an older state must not follow it.
func (b *backfills) saw(t *table, row []pgoutput.Value) {
	for _, p := range b.pages {
		if p.table.name == t.name {
			p.changed[string(t.body.Identify(nil, row))] = true
		}
	}
}

func (b *backfills) close(ctx context.Context) {
	if b.from != nil {
		b.from.close(ctx)
	}
}

// backfill acts on a request or a marker. Whatever else a logical message is, is
// not ours.
func (f *follower) backfill(ctx context.Context) error {
	prefix := string(f.decoded.Prefix)
	if prefix != backfillRequest && prefix != backfillMarker {
		return nil
	}
	m, ok := readMarker(f.decoded.Content)
	if !ok || m.Sink != f.plan.sink.Name {
		f.log.Warn().Str("event", "backfill.ignored").Str("sink", m.Sink).Str("hint", "it is for a sink that this relay does not serve").Send()
		return nil
	}
	if f.backfills.pages == nil {
		f.backfills.pages = map[uuid.UUID]*page{}
	}
	p := f.backfills.pages[m.Backfill]
	switch {
	case p == nil: // a request, or what a relay before us has left
		return f.readPage(ctx, m)
	case p.Page != m.Page: // an older reading: the newer marker is still to come
		return nil
	}
	if err := f.emitPage(ctx, p); err != nil {
		return err
	}
	delete(f.backfills.pages, m.Backfill)
	if !p.more {
		f.log.Info().Str("event", "backfill.completed").Stringer("backfill_id", m.Backfill).Str("table", m.Table).Send()
		return nil
	}
	m.After = p.last
	return f.readPage(ctx, m)
}

// readPage reads the page that begins behind m.After, and writes its marker. What
// the database refuses ends the backfill and nothing else: the slot goes on.
func (f *follower) readPage(ctx context.Context, m marker) error {
	p, err := f.turnPage(ctx, m)
	switch {
	case err == nil:
		f.backfills.pages[m.Backfill] = p
		return nil
	case hopeless(err):
		f.log.Error().Str("event", "backfill.failed").Stringer("backfill_id", m.Backfill).Str("table", m.Table).Err(err).Send()
		return nil
	default:
		return fmt.Errorf("backfill %s: %w", m.Backfill, err)
	}
}

func (f *follower) turnPage(ctx context.Context, m marker) (*page, error) {
	if f.backfills.from == nil {
		from, err := openReader(ctx, f.cfg.DatabaseURL)
		if err != nil {
			return nil, err
		}
		f.backfills.from = from
	}
	from := f.backfills.from
	as, err := from.describe(ctx, m.Table)
	if err != nil {
		return nil, err
	}
	if !f.plan.source.Selects(as.Schema, as.Name) {
		return nil, fmt.Errorf("%w: the sink does not take its rows", errHopeless)
	}
	t, err := f.tables.prepare(ctx, as)
	if err != nil {
		return nil, err
	}
	p := &page{marker: m, table: t, at: time.Now().UnixMicro() - postgresEpoch, changed: map[string]bool{}}
	p.Page = uuid.New()
	if err := from.read(ctx, as, p); err != nil {
		return nil, err
	}
	return p, from.write(ctx, backfillMarker, p.marker)
}

func (f *follower) emitPage(ctx context.Context, p *page) error {
	tx := message.Transaction{Time: p.at}
	for _, row := range p.rows {
		if p.changed[string(p.table.body.Identify(nil, row))] {
			continue
		}
		if err := f.emit(ctx, p.table, &tx, &message.Change{Action: message.Read, Record: row, Read: p.Backfill.String()}); err != nil {
			return err
		}
		f.counts.read.Add(1)
	}
	return nil
}

// errHopeless is a backfill that no later try would bring on.
var errHopeless = errors.New("not possible")

// hopeless also holds what Postgres says of a table that is not there, of rights
// and of columns (SQLSTATE class 42), and of values that are none (class 22).
func hopeless(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, errHopeless) || errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "42") || strings.HasPrefix(pg.Code, "22"))
}
