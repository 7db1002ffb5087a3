// Package message writes the JSON that Sequin would write for a change.
//
// Promise: for every row the body equals Sequin's by JSON value, numbers
//
//	compared as text (contracts of the wire: internal/relay/testdata).
//
// State:   none; a Table is made once for each description of a table and is
//
//	only read afterwards.
//
// Failure: none. A value that Sequin could not print either (a fraction beyond
//
//	float64, a time of year 10000) is passed on as Postgres printed it.
package message

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/finnest/event-runtime/internal/relay/pgoutput"
)

// Entity is a sink or a database as every message names it.
type Entity struct {
	ID          string
	Name        string
	Annotations []byte // a JSON object
}

// Source is the database a message comes from.
type Source struct {
	Entity
	Hostname string
	Database string
}

// Column is one column and how its values are written.
type Column struct {
	Name   string
	Encode Encoder
	Key    bool // part of the primary key
}

// Transaction is what the messages of one transaction share.
type Transaction struct {
	LSN         uint64 // of its commit record
	Time        int64  // microseconds since 2000-01-01 UTC
	Annotations []byte // a JSON value; nil when there are none
}

// Action says what happened to a row. The names are Sequin's.
type Action string

// The actions. Read is a row that a backfill found in the table.
const (
	Insert Action = "insert"
	Update Action = "update"
	Delete Action = "delete"
	Read   Action = "read"
)

// Change is what happened to one row. Its rows have as many values as the table
// has columns.
type Change struct {
	Action Action
	Idx    uint64           // in its transaction; of a read nothing
	Record []pgoutput.Value // the row after the change; of a delete before it
	Before []pgoutput.Value // of an update, where the whole row before it is known
	Read   string           // the backfill that read the row
}

// Table turns rows of one table into bodies.
type Table struct {
	names  [][]byte // `"name":`, from the second on with a comma before it
	bare   []string // the same names, as they are
	encode []Encoder
	keys   []int
	after  []byte // what stands between the action and what changes from row to row
}

// NewTable prepares everything that is the same for all rows. Columns come in
// the order of their numbers: record_pks has that order too.
func NewTable(schema, name string, columns []Column, sink Entity, source Source) *Table {
	t := &Table{}
	for i, c := range columns {
		var b []byte
		if i > 0 {
			b = append(b, ',')
		}
		t.names = append(t.names, append(appendString(b, []byte(c.Name)), ':'))
		t.bare = append(t.bare, c.Name)
		t.encode = append(t.encode, c.Encode)
		if c.Key {
			t.keys = append(t.keys, i)
		}
	}
	b := []byte(`","metadata":{"table_schema":`)
	b = appendText(b, schema)
	b = appendText(append(b, `,"table_name":`...), name)
	b = appendText(append(b, `,"database_name":`...), source.Name)
	b = appendEntity(append(b, `,"enrichment":null,"consumer":`...), sink)
	b = appendEntity(append(b, `},"database":`...), source.Entity)
	b = appendText(append(b, `,"database":`...), source.Database)
	b = appendText(append(b, `,"hostname":`...), source.Hostname)
	t.after = append(b, `},"commit_timestamp":"`...)
	return t
}

// appendEntity leaves the object open.
func appendEntity(b []byte, e Entity) []byte {
	b = appendText(append(b, `{"id":`...), e.ID)
	b = appendText(append(b, `,"name":`...), e.Name)
	b = append(b, `,"annotations":`...)
	if len(e.Annotations) == 0 {
		return append(b, `{}`...)
	}
	return append(b, e.Annotations...)
}

// AppendInsert appends the body for an inserted row, the idx-th change of its
// transaction.
func (t *Table) AppendInsert(b []byte, tx *Transaction, idx uint64, row []pgoutput.Value) []byte {
	return t.Append(b, tx, &Change{Action: Insert, Idx: idx, Record: row})
}

// Append appends the body for a change. Of a read the transaction says only when
// the row was read.
func (t *Table) Append(b []byte, tx *Transaction, c *Change) []byte {
	b = append(b, `{"record":{`...)
	for i := range c.Record {
		b = append(b, t.names[i]...)
		b = t.appendValue(b, i, c)
	}
	b = append(b, `},"changes":`...)
	if c.Action == Update {
		b = t.appendChanges(b, c)
	} else {
		b = append(b, "null"...)
	}
	b = append(append(b, `,"action":"`...), c.Action...)
	b = append(b, t.after...)
	b = appendTime(b, tx.Time)
	b = appendPlace(b, tx, c)
	b = t.AppendKey(append(b, `,"idempotency_key":"`...), tx, c)
	b = append(b, `","record_pks":[`...)
	for n, i := range t.keys {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, c.Record[i].Data) // as printed, whatever the type
	}
	return append(b, "]}}"...)
}

// appendPlace writes where in the log the change is. A read has no place there.
func appendPlace(b []byte, tx *Transaction, c *Change) []byte {
	if c.Action == Read {
		return append(b, `","commit_lsn":null,"commit_idx":null,"transaction_annotations":null`...)
	}
	b = strconv.AppendUint(append(b, `","commit_lsn":`...), tx.LSN, 10)
	b = strconv.AppendUint(append(b, `,"commit_idx":`...), c.Idx, 10)
	b = append(b, `,"transaction_annotations":`...)
	if tx.Annotations == nil {
		return append(b, "null"...)
	}
	return append(b, tx.Annotations...)
}

// unchangedToast stands for a value that is stored out of line, was not touched
// by an update, and is not in the log.
const unchangedToast = `"unchanged_toast"`

func (t *Table) appendValue(b []byte, i int, c *Change) []byte {
	switch v := c.Record[i]; {
	case v.Kind == pgoutput.Text:
		return t.encode[i](b, v.Data)
	case v.Kind != pgoutput.Unchanged:
		return append(b, "null"...)
	case c.Before != nil && c.Before[i].Kind == pgoutput.Text:
		return t.encode[i](b, c.Before[i].Data)
	default:
		return append(b, unchangedToast...)
	}
}

// appendChanges writes the previous values of the columns that changed; none
// where the row before is not known.
func (t *Table) appendChanges(b []byte, c *Change) []byte {
	b = append(b, '{')
	first := true
	for i, before := range c.Before {
		now := c.Record[i]
		if now.Kind == pgoutput.Unchanged || now.Kind == before.Kind && bytes.Equal(now.Data, before.Data) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendText(b, t.bare[i]), ':')
		if before.Kind == pgoutput.Text {
			b = t.encode[i](b, before.Data)
		} else {
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}

// AppendKey appends the idempotency key of a change.
func (t *Table) AppendKey(b []byte, tx *Transaction, c *Change) []byte {
	if c.Action != Read {
		return AppendKey(b, tx.LSN, c.Idx)
	}
	plain := []byte(c.Read)
	for _, i := range t.keys {
		plain = append(append(plain, ':'), c.Record[i].Data...)
	}
	return base64.StdEncoding.AppendEncode(b, plain)
}

// Identify appends what tells a row from every other of its table; nothing where
// the table has no primary key.
func (t *Table) Identify(b []byte, row []pgoutput.Value) []byte {
	for _, i := range t.keys {
		b = append(append(b, row[i].Data...), 0)
	}
	return b
}

// AppendKey appends the idempotency key of a logged change: Base64 of "<lsn>:<idx>".
func AppendKey(b []byte, lsn, idx uint64) []byte {
	var plain [41]byte // two numbers of 20 digits and the colon
	p := strconv.AppendUint(plain[:0], lsn, 10)
	p = strconv.AppendUint(append(p, ':'), idx, 10)
	return base64.StdEncoding.AppendEncode(b, p)
}
