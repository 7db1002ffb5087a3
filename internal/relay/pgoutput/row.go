package pgoutput

import (
	"bytes"
	"encoding/binary"
)

// cursor takes values off the front of a message. After the first that is not
// there it gives zeros, and the message has failed as a whole.
type cursor struct {
	rest   []byte
	failed bool
}

func (c *cursor) bytes(n int64) []byte {
	if n > int64(len(c.rest)) {
		c.failed, c.rest = true, nil
		return nil
	}
	head := c.rest[:n:n]
	c.rest = c.rest[n:]
	return head
}

func (c *cursor) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text is a string that ends with a zero byte.
func (c *cursor) text() []byte {
	end := bytes.IndexByte(c.rest, 0)
	if end < 0 {
		c.failed, c.rest = true, nil
		return nil
	}
	head := c.rest[:end:end]
	c.rest = c.rest[end+1:]
	return head
}

// row reads one row into values, which keeps its memory from row to row.
func (c *cursor) row(values []Value) []Value {
	values = values[:0]
	for n := c.uint16(); n > 0 && !c.failed; n-- {
		v := Value{Kind: ValueKind(c.byte())}
		switch v.Kind {
		case Text, Binary:
			v.Data = c.bytes(int64(c.uint32()))
		case Null, Unchanged:
		default:
			c.failed = true
		}
		values = append(values, v)
	}
	return values
}

func (m *Message) insert(c *cursor) {
	m.RelationID = c.uint32()
	c.failed = c.byte() != 'N' || c.failed
	m.New = c.row(m.New)
}

func (m *Message) update(c *cursor) {
	m.RelationID = c.uint32()
	m.Old, m.OldIsKey = m.Old[:0], false
	mark := c.byte()
	if mark == 'K' || mark == 'O' {
		m.OldIsKey = mark == 'K'
		m.Old = c.row(m.Old)
		mark = c.byte()
	}
	c.failed = mark != 'N' || c.failed
	m.New = c.row(m.New)
}

func (m *Message) delete(c *cursor) {
	m.RelationID = c.uint32()
	mark := c.byte()
	c.failed = mark != 'K' && mark != 'O' || c.failed
	m.OldIsKey = mark == 'K'
	m.Old = c.row(m.Old)
}

func (m *Message) truncate(c *cursor) {
	n := c.uint32()
	m.Options = c.byte()
	m.Truncated = m.Truncated[:0]
	if int64(n)*4 > int64(len(c.rest)) { // before memory is set aside for them
		c.failed = true
		return
	}
	for range n {
		m.Truncated = append(m.Truncated, c.uint32())
	}
}

func (m *Message) relation(c *cursor) {
	m.Table = Table{ID: c.uint32(), Schema: string(c.text()), Name: string(c.text()), Identity: c.byte()}
	n := c.uint16()
	for range n {
		if c.failed {
			return
		}
		m.Table.Columns = append(m.Table.Columns, Column{
			Key: c.byte()&1 == 1, Name: string(c.text()), Type: c.uint32(), Modifier: int32(c.uint32()),
		})
	}
}
