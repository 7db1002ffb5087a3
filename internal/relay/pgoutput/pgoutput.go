// Package pgoutput reads the messages of Postgres's logical replication plugin
// of that name, protocol version 1.
//
// Promise: what Decode accepts means what the server's documentation says; any
//
//	other bytes are an error, never a panic, and cost memory only in proportion
//	to their length.
//
// State:   none. A Message may be used again and again: it keeps its slices.
// Failure: ErrMalformed, with the kind of message and what was missing.
package pgoutput

import (
	"errors"
	"fmt"
	"slices"
)

// Kind is the first byte of a message.
type Kind byte

// The kinds of protocol version 1.
const (
	Begin    Kind = 'B'
	Commit   Kind = 'C'
	Origin   Kind = 'O'
	Relation Kind = 'R'
	Type     Kind = 'Y'
	Insert   Kind = 'I'
	Update   Kind = 'U'
	Delete   Kind = 'D'
	Truncate Kind = 'T'
	Logical  Kind = 'M' // pg_logical_emit_message
)

// Value is one column of a row, as text. Data belongs to the decoded bytes.
type Value struct {
	Kind ValueKind
	Data []byte
}

// ValueKind says what Data is.
type ValueKind byte

// The kinds of values. An inserted row never holds Unchanged by the server's
// doing; a reader may put it in place of a value that it will not keep.
const (
	Null      ValueKind = 'n'
	Unchanged ValueKind = 'u' // stored out of line and not touched by an update
	Text      ValueKind = 't'
	Binary    ValueKind = 'b'
)

// Column describes a column of a table.
type Column struct {
	Key      bool // part of the replica identity
	Name     string
	Type     uint32
	Modifier int32
}

// Table is what a Relation message says.
type Table struct {
	ID       uint32
	Schema   string
	Name     string
	Identity byte // d default, n nothing, f full, i index
	Columns  []Column
}

// Equal reports whether two descriptions say the same.
func (t *Table) Equal(other *Table) bool {
	return t.ID == other.ID && t.Schema == other.Schema && t.Name == other.Name && t.Identity == other.Identity && slices.Equal(t.Columns, other.Columns)
}

// Message is one decoded message. Which fields mean something depends on Kind;
// slices of bytes belong to the decoded bytes.
type Message struct {
	Kind Kind

	LSN  uint64 // Begin and Commit: of the commit record; Origin: at the origin; Logical: of the message
	End  uint64 // Commit: of the byte after the commit record
	Time int64  // Begin, Commit: microseconds since 2000-01-01 UTC
	XID  uint32 // Begin

	Table Table // Relation; of Type only ID, Schema and Name

	RelationID uint32  // Insert, Update, Delete
	Old        []Value // Update, Delete: the row before; with OldIsKey only the replica identity is set
	New        []Value // Insert, Update
	OldIsKey   bool

	Truncated []uint32 // Truncate: the tables
	Options   byte     // Truncate: 1 cascade, 2 restart identity

	Transactional bool   // Logical
	Prefix        []byte // Logical; Origin: its name
	Content       []byte // Logical
}

// ErrMalformed is every failure of Decode.
var ErrMalformed = errors.New("malformed pgoutput message")

// Decode reads one message into m.
func Decode(b []byte, m *Message) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	m.Kind = Kind(b[0])
	c := cursor{rest: b[1:]}
	switch m.Kind {
	case Insert:
		m.insert(&c)
	case Begin:
		m.LSN, m.Time, m.XID = c.uint64(), int64(c.uint64()), c.uint32()
	case Commit:
		c.byte() // flags, none defined
		m.LSN, m.End, m.Time = c.uint64(), c.uint64(), int64(c.uint64())
	case Relation:
		m.relation(&c)
	case Type:
		m.Table = Table{ID: c.uint32(), Schema: string(c.text()), Name: string(c.text())}
	case Update:
		m.update(&c)
	case Delete:
		m.delete(&c)
	case Truncate:
		m.truncate(&c)
	case Logical:
		m.Transactional, m.LSN, m.Prefix, m.Content = c.byte() == 1, c.uint64(), c.text(), c.bytes(int64(c.uint32()))
	case Origin:
		m.LSN, m.Prefix = c.uint64(), c.text()
	default:
		return fmt.Errorf("%w: kind %q", ErrMalformed, b[0])
	}
	switch {
	case c.failed:
		return fmt.Errorf("%w: kind %q ends early or holds an unknown mark", ErrMalformed, b[0])
	case len(c.rest) > 0:
		return fmt.Errorf("%w: kind %q has %d bytes too many", ErrMalformed, b[0], len(c.rest))
	}
	return nil
}
