package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	pageRows  = 200     // of a page
	pageBytes = 1 << 20 // a page ends with the row that goes beyond
	readTime  = 30 * time.Second
)

// reader is the connection that backfills read by. Its values look as the slot's.
type reader struct{ conn *pgx.Conn }

func openReader(ctx context.Context, url string) (*reader, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.RuntimeParams["application_name"] = "event-runtime relay backfill"
	alike(cfg.RuntimeParams)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect for a backfill: %w", err)
	}
	return &reader{conn}, nil
}

func (r *reader) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.conn.Close(ctx)
}

const sqlDescribe = `
SELECT c.oid, n.nspname, c.relname, a.attname, a.atttypid, coalesce(a.attnum = any (i.indkey), false)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE n.nspname || '.' || c.relname = @table ORDER BY a.attnum`

// describe says of a table what the stream would. Columns of the primary key are
// marked.
func (r *reader) describe(ctx context.Context, name string) (*pgoutput.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	rows, err := r.conn.Query(ctx, sqlDescribe, pgx.NamedArgs{"table": name})
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", name, err)
	}
	t, keyed := &pgoutput.Table{}, false
	var c pgoutput.Column
	_, err = pgx.ForEachRow(rows, []any{&t.ID, &t.Schema, &t.Name, &c.Name, &c.Type, &c.Key}, func() error {
		t.Columns = append(t.Columns, c)
		keyed = keyed || c.Key
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("describe %s: %w", name, err)
	case len(t.Columns) == 0:
		return nil, fmt.Errorf("%w: there is no table %s", errHopeless, name)
	case !keyed:
		return nil, fmt.Errorf("%w: table %s has no primary key to read it by", errHopeless, name)
	}
	return t, nil
}

// read fills a page, in the order of the primary key.
func (r *reader) read(ctx context.Context, as *pgoutput.Table, p *page) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	args := []any{pgx.QueryResultFormats{pgx.TextFormatCode}}
	for _, value := range p.After {
		args = append(args, value)
	}
	rows, err := r.conn.Query(ctx, pageQuery(as, len(p.After) > 0), args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.Table, err)
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		if p.more = bytes > pageBytes || len(p.rows) == pageRows; p.more {
			break
		}
		row, size := valuesOf(rows.RawValues())
		bytes += size
		p.rows = append(p.rows, row)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", p.Table, err)
	}
	if n := len(p.rows); n > 0 {
		p.last = nil
		for i, c := range as.Columns {
			if c.Key {
				p.last = append(p.last, string(p.rows[n-1][i].Data))
			}
		}
	}
	return nil
}

// pageQuery reads one row more than a page has, to know whether it is the last.
func pageQuery(as *pgoutput.Table, after bool) string {
	var columns, keys, marks []string
	for _, c := range as.Columns {
		columns = append(columns, quote(c.Name, `"`))
		if c.Key {
			keys = append(keys, quote(c.Name, `"`))
			marks = append(marks, fmt.Sprintf("$%d", len(keys)))
		}
	}
	key := strings.Join(keys, ", ")
	where := ""
	if after {
		where = fmt.Sprintf(" WHERE (%s) > (%s)", key, strings.Join(marks, ", "))
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s%s ORDER BY %s LIMIT %d",
		strings.Join(columns, ", "), quote(as.Schema, `"`), quote(as.Name, `"`), where, key, pageRows+1)
}

// valuesOf copies a row out of pgx's buffer.
func valuesOf(raw [][]byte) (row []pgoutput.Value, size int) {
	for _, text := range raw {
		v := pgoutput.Value{Kind: pgoutput.Null}
		if text != nil {
			v = pgoutput.Value{Kind: pgoutput.Text, Data: append([]byte{}, text...)}
		}
		size += len(text)
		row = append(row, v)
	}
	return row, size
}

const sqlEmit = `SELECT pg_logical_emit_message(true, @prefix, @content)`

// write puts a marker into the log.
func (r *reader) write(ctx context.Context, prefix string, m marker) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	content, err := json.Marshal(m)
	if err == nil {
		_, err = r.conn.Exec(ctx, sqlEmit, pgx.NamedArgs{"prefix": prefix, "content": string(content)})
	}
	if err != nil {
		return fmt.Errorf("write to the log: %w", err)
	}
	return nil
}

const sqlHolder = `
SELECT s.active, coalesce(a.application_name, '')
  FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
 WHERE s.slot_name = @slot`

// RequestBackfill asks the relay that holds the slot for every row of a table, by
// a message in the log. An empty table is the first that the sink names. It
// refuses where another program holds the slot, which would not know the message.
func RequestBackfill(ctx context.Context, cfg Config, id uuid.UUID, table string) (asked string, err error) {
	plan, err := cfg.plan()
	if err != nil {
		return "", err
	}
	if table == "" && len(plan.source.IncludeTables) > 0 {
		table = plan.source.IncludeTables[0]
	}
	if !strings.Contains(table, ".") {
		table = "public." + table
	}
	r, err := openReader(ctx, cfg.DatabaseURL)
	if err != nil {
		return "", err
	}
	defer r.close(ctx)
	if err := r.checkHolder(ctx, plan.slot); err != nil {
		return "", err
	}
	as, err := r.describe(ctx, table)
	if err != nil {
		return "", fmt.Errorf("backfill: %w", err)
	}
	if !plan.source.Selects(as.Schema, as.Name) {
		return "", fmt.Errorf("backfill: sink %s does not take the rows of %s", plan.sink.Name, table)
	}
	return table, r.write(ctx, backfillRequest, marker{Backfill: id, Sink: plan.sink.Name, Table: table})
}

// checkHolder makes sure that somebody will read the request. A slot that nobody
// holds keeps it.
func (r *reader) checkHolder(ctx context.Context, slot string) error {
	var active bool
	var holder string
	err := r.conn.QueryRow(ctx, sqlHolder, pgx.NamedArgs{"slot": slot}).Scan(&active, &holder)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("backfill: slot %s does not exist: run `event-runtime migrate`", slot)
	case err != nil:
		return fmt.Errorf("backfill: look at the slot: %w", err)
	case active && holder != relayName:
		return fmt.Errorf("backfill: slot %s is held by %q, not by the built-in relay: ask that program for a backfill (Sequin: POST /api/sinks/…/backfills)", slot, holder)
	}
	return nil
}
