package pgoutput

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.UnixMicro(946684800_000_000 + 123_456_789).UTC()

func values(kinds string) *pglogrepl.TupleData {
	t := &pglogrepl.TupleData{ColumnNum: uint16(len(kinds))}
	for _, k := range []byte(kinds) {
		c := &pglogrepl.TupleDataColumn{DataType: k}
		if k == 't' || k == 'b' {
			c.Data, c.Length = []byte("value"), 5
		}
		t.Columns = append(t.Columns, c)
	}
	return t
}

func typed[T interface {
	pglogrepl.Message
	SetType(pglogrepl.MessageType)
}](m T, kind pglogrepl.MessageType) pglogrepl.Message {
	m.SetType(kind)
	return m
}

// wellFormed holds one message of each kind and shape.
var wellFormed = map[string]pglogrepl.Message{
	"begin":            typed(&pglogrepl.BeginMessage{FinalLSN: 555977520, CommitTime: at, Xid: 7}, 'B'),
	"commit":           typed(&pglogrepl.CommitMessage{CommitLSN: 1 << 40, TransactionEndLSN: 1<<40 + 48, CommitTime: at}, 'C'),
	"origin":           typed(&pglogrepl.OriginMessage{CommitLSN: 9, Name: "elsewhere"}, 'O'),
	"type":             typed(&pglogrepl.TypeMessage{DataType: 16400, Namespace: "public", Name: "mood"}, 'Y'),
	"relation":         typed(&pglogrepl.RelationMessage{RelationID: 16385, Namespace: "event_runtime", RelationName: "outbox", ReplicaIdentity: 'd', ColumnNum: 2, Columns: []*pglogrepl.RelationMessageColumn{{Flags: 1, Name: "tenant_id", DataType: 25, TypeModifier: -1}, {Name: "payload", DataType: 3802, TypeModifier: -1}}}, 'R'),
	"insert":           typed(&pglogrepl.InsertMessage{RelationID: 16385, Tuple: values("tntb")}, 'I'),
	"update":           typed(&pglogrepl.UpdateMessage{RelationID: 16385, NewTuple: values("tu")}, 'U'),
	"update with key":  typed(&pglogrepl.UpdateMessage{RelationID: 16385, OldTupleType: 'K', OldTuple: values("tn"), NewTuple: values("tu")}, 'U'),
	"update with row":  typed(&pglogrepl.UpdateMessage{RelationID: 16385, OldTupleType: 'O', OldTuple: values("tt"), NewTuple: values("tt")}, 'U'),
	"delete by key":    typed(&pglogrepl.DeleteMessage{RelationID: 16385, OldTupleType: 'K', OldTuple: values("tn")}, 'D'),
	"delete with row":  typed(&pglogrepl.DeleteMessage{RelationID: 16385, OldTupleType: 'O', OldTuple: values("tt")}, 'D'),
	"truncate":         typed(&pglogrepl.TruncateMessage{RelationNum: 2, Option: 1, RelationIDs: []uint32{16385, 16390}}, 'T'),
	"logical":          typed(&pglogrepl.LogicalDecodingMessage{Transactional: true, LSN: 77, Prefix: "somebody", Content: []byte{0, 255}}, 'M'),
	"logical at large": typed(&pglogrepl.LogicalDecodingMessage{LSN: 77, Prefix: "", Content: []byte{}}, 'M'),
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, want := range wellFormed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := encode(want)
			var m Message
			if err := Decode(text, &m); err != nil {
				t.Fatal(err)
			}
			compare(t, &m, want)
			for cut := range text {
				if err := Decode(text[:cut], &m); !errors.Is(err, ErrMalformed) {
					t.Errorf("cut to %d of %d bytes: got %v, want it malformed", cut, len(text), err)
				}
			}
			if err := Decode(append(slices.Clone(text), 0), &m); !errors.Is(err, ErrMalformed) {
				t.Errorf("with a byte too many: got %v, want it malformed", err)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":                         "",
		"a kind of a later protocol":      "S\x00\x00\x00\x01\x01",
		"an insert without its mark":      "I\x00\x00\x00\x01X\x00\x00",
		"an unknown kind of value":        "I\x00\x00\x00\x01N\x00\x01z",
		"a value longer than the message": "I\x00\x00\x00\x01N\x00\x01t\xff\xff\xff\xffabc",
		"more tables than fit":            "T\xff\xff\xff\xff\x00\x00\x00\x00\x01",
		"more columns than fit":           "R\x00\x00\x00\x01s\x00t\x00d\xff\xff\x00a\x00\x00\x00\x00\x19\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m Message
			if err := Decode([]byte(text), &m); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want it malformed", err)
			}
		})
	}
}

// FuzzDecode holds Decode against an independent parser: it never panics, and
// what it accepts, both read the same. That it accepts what a server writes is
// TestDecodeAccepts' business: the other parser believes any length it is told.
func FuzzDecode(f *testing.F) {
	for _, m := range wellFormed {
		f.Add(encode(m))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var m Message
		if Decode(text, &m) != nil || m.Kind == Insert && len(m.New) == 0 || m.Kind == Truncate && len(m.Truncated) == 0 {
			return // rows of no columns, truncates of no tables: the other parser misses something, and no server writes them
		}
		const year2200 = 200 * 365 * 24 * int64(time.Hour/time.Microsecond)
		if (m.Kind == Begin || m.Kind == Commit) && (m.Time > year2200 || m.Time < 0) {
			return // the other parser's clock counts nanoseconds, and overflows
		}
		want, err := pglogrepl.Parse(text)
		if err != nil {
			t.Fatalf("got it accepted, the other parser says %v", err)
		}
		switch w := want.(type) { // bits without a meaning
		case *pglogrepl.CommitMessage:
			w.Flags = 0
		case *pglogrepl.RelationMessage:
			for _, c := range w.Columns {
				c.Flags &= 1
			}
		case *pglogrepl.LogicalDecodingMessage:
			w.Transactional = text[1] == 1
		case *pglogrepl.UpdateMessage:
			if w.OldTuple != nil && w.OldTuple.ColumnNum == 0 {
				w.OldTuple = nil // no table is without columns
			}
		}
		compare(t, &m, want)
	})
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[a-zé_]{0,8}`)
	tuple := func(t *rapid.T, label string) *pglogrepl.TupleData {
		return values(rapid.StringMatching(`[tnub]{1,20}`).Draw(t, label))
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint32().Draw(t, "relation")
		all := []pglogrepl.Message{
			typed(&pglogrepl.InsertMessage{RelationID: id, Tuple: tuple(t, "new")}, 'I'),
			typed(&pglogrepl.UpdateMessage{RelationID: id, OldTupleType: 'K', OldTuple: tuple(t, "old"), NewTuple: tuple(t, "new")}, 'U'),
			typed(&pglogrepl.DeleteMessage{RelationID: id, OldTupleType: 'O', OldTuple: tuple(t, "old")}, 'D'),
			typed(&pglogrepl.TruncateMessage{RelationNum: 2, RelationIDs: []uint32{id, id + 1}, Option: 3}, 'T'),
			typed(&pglogrepl.LogicalDecodingMessage{Transactional: rapid.Bool().Draw(t, "transactional"), Prefix: word.Draw(t, "prefix"), Content: rapid.SliceOf(rapid.Byte()).Draw(t, "content")}, 'M'),
			typed(&pglogrepl.RelationMessage{RelationID: id, Namespace: word.Draw(t, "schema"), RelationName: word.Draw(t, "table"), ReplicaIdentity: 'f', ColumnNum: 1, Columns: []*pglogrepl.RelationMessageColumn{{Flags: 1, Name: word.Draw(t, "column"), DataType: id, TypeModifier: -1}}}, 'R'),
		}
		var m Message // used again, as the relay does
		for _, want := range all {
			text := encode(want)
			if err := Decode(text, &m); err != nil {
				t.Fatalf("%s: %v", want.Type(), err)
			}
			compare(t, &m, want)
		}
	})
}

func compare(t interface {
	Helper()
	Fatalf(string, ...any)
}, got *Message, want pglogrepl.Message) {
	t.Helper()
	// Written again from what was decoded, it must be the same bytes.
	if again := encode(restore(got)); !bytes.Equal(again, encode(want)) {
		t.Fatalf("got %q, want %q", again, encode(want))
	}
}

// restore turns a decoded message into the other parser's.
func restore(m *Message) pglogrepl.Message {
	when := time.UnixMicro(946684800_000_000 + m.Time)
	tuple := func(values []Value) *pglogrepl.TupleData {
		out := &pglogrepl.TupleData{ColumnNum: uint16(len(values))}
		for _, v := range values {
			out.Columns = append(out.Columns, &pglogrepl.TupleDataColumn{DataType: byte(v.Kind), Data: v.Data})
		}
		return out
	}
	mark := map[bool]byte{true: 'K', false: 'O'}[m.OldIsKey]
	switch m.Kind {
	case Begin:
		return typed(&pglogrepl.BeginMessage{FinalLSN: pglogrepl.LSN(m.LSN), CommitTime: when, Xid: m.XID}, 'B')
	case Commit:
		return typed(&pglogrepl.CommitMessage{CommitLSN: pglogrepl.LSN(m.LSN), TransactionEndLSN: pglogrepl.LSN(m.End), CommitTime: when}, 'C')
	case Origin:
		return typed(&pglogrepl.OriginMessage{CommitLSN: pglogrepl.LSN(m.LSN), Name: string(m.Prefix)}, 'O')
	case Type:
		return typed(&pglogrepl.TypeMessage{DataType: m.Table.ID, Namespace: m.Table.Schema, Name: m.Table.Name}, 'Y')
	case Relation:
		r := &pglogrepl.RelationMessage{RelationID: m.Table.ID, Namespace: m.Table.Schema, RelationName: m.Table.Name, ReplicaIdentity: m.Table.Identity, ColumnNum: uint16(len(m.Table.Columns))}
		for _, c := range m.Table.Columns {
			flags := map[bool]byte{true: 1}[c.Key]
			r.Columns = append(r.Columns, &pglogrepl.RelationMessageColumn{Flags: flags, Name: c.Name, DataType: c.Type, TypeModifier: c.Modifier})
		}
		return typed(r, 'R')
	case Insert:
		return typed(&pglogrepl.InsertMessage{RelationID: m.RelationID, Tuple: tuple(m.New)}, 'I')
	case Update:
		u := &pglogrepl.UpdateMessage{RelationID: m.RelationID, OldTupleType: mark, NewTuple: tuple(m.New)}
		if len(m.Old) > 0 {
			u.OldTuple = tuple(m.Old)
		}
		return typed(u, 'U')
	case Delete:
		return typed(&pglogrepl.DeleteMessage{RelationID: m.RelationID, OldTupleType: mark, OldTuple: tuple(m.Old)}, 'D')
	case Truncate:
		return typed(&pglogrepl.TruncateMessage{RelationNum: uint32(len(m.Truncated)), Option: m.Options, RelationIDs: m.Truncated}, 'T')
	default:
		return typed(&pglogrepl.LogicalDecodingMessage{Transactional: m.Transactional, LSN: pglogrepl.LSN(m.LSN), Prefix: string(m.Prefix), Content: m.Content}, 'M')
	}
}
