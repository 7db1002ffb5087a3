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

// Table turns rows of one table into bodies.
type Table struct {
	names  [][]byte // `"name":`, from the second on with a comma before it
	encode []Encoder
	keys   []int
	after  []byte // what stands between the record and what changes from row to row
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
		t.encode = append(t.encode, c.Encode)
		if c.Key {
			t.keys = append(t.keys, i)
		}
	}
	b := []byte(`},"changes":null,"action":"insert","metadata":{"table_schema":`)
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
// transaction. The row has as many values as the table has columns.
func (t *Table) AppendInsert(b []byte, tx *Transaction, idx uint64, row []pgoutput.Value) []byte {
	b = append(b, `{"record":{`...)
	for i := range row {
		b = append(b, t.names[i]...)
		if row[i].Kind != pgoutput.Text {
			b = append(b, "null"...)
			continue
		}
		b = t.encode[i](b, row[i].Data)
	}
	b = append(b, t.after...)
	b = appendTime(b, tx.Time)
	b = append(b, `","commit_lsn":`...)
	b = strconv.AppendUint(b, tx.LSN, 10)
	b = append(b, `,"commit_idx":`...)
	b = strconv.AppendUint(b, idx, 10)
	b = append(b, `,"transaction_annotations":`...)
	if tx.Annotations == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, tx.Annotations...)
	}
	b = append(b, `,"idempotency_key":"`...)
	b = AppendKey(b, tx.LSN, idx)
	b = append(b, `","record_pks":[`...)
	for n, i := range t.keys {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, row[i].Data) // as printed, whatever the type
	}
	return append(b, "]}}"...)
}

// AppendKey appends the idempotency key of a change: Base64 of "<lsn>:<idx>".
func AppendKey(b []byte, lsn, idx uint64) []byte {
	var plain [41]byte // two numbers of 20 digits and the colon
	p := strconv.AppendUint(plain[:0], lsn, 10)
	p = strconv.AppendUint(append(p, ':'), idx, 10)
	return base64.StdEncoding.AppendEncode(b, p)
}
