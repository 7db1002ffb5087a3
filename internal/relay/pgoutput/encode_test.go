package pgoutput

import (
	"encoding/binary"

	"github.com/jackc/pglogrepl"
)

// encode writes a message of the independent parser as a server would. What it
// gives, Decode must accept.
func encode(m pglogrepl.Message) []byte {
	b := []byte{byte(m.Type())}
	put32, put64, text := binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64, func(b []byte, s string) []byte { return append(append(b, s...), 0) }
	micros := func(b []byte, t interface{ UnixMicro() int64 }) []byte {
		return put64(b, uint64(t.UnixMicro()-946684800_000_000))
	}
	switch m := m.(type) {
	case *pglogrepl.BeginMessage:
		return put32(micros(put64(b, uint64(m.FinalLSN)), m.CommitTime), m.Xid)
	case *pglogrepl.CommitMessage:
		return micros(put64(put64(append(b, m.Flags), uint64(m.CommitLSN)), uint64(m.TransactionEndLSN)), m.CommitTime)
	case *pglogrepl.OriginMessage:
		return text(put64(b, uint64(m.CommitLSN)), m.Name)
	case *pglogrepl.TypeMessage:
		return text(text(put32(b, m.DataType), m.Namespace), m.Name)
	case *pglogrepl.RelationMessage:
		b = append(text(text(put32(b, m.RelationID), m.Namespace), m.RelationName), m.ReplicaIdentity)
		b = binary.BigEndian.AppendUint16(b, m.ColumnNum)
		for _, c := range m.Columns {
			b = put32(put32(text(append(b, c.Flags), c.Name), c.DataType), uint32(c.TypeModifier))
		}
		return b
	case *pglogrepl.InsertMessage:
		return row(append(put32(b, m.RelationID), 'N'), m.Tuple)
	case *pglogrepl.UpdateMessage:
		b = put32(b, m.RelationID)
		if m.OldTuple != nil {
			b = row(append(b, m.OldTupleType), m.OldTuple)
		}
		return row(append(b, 'N'), m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return row(append(put32(b, m.RelationID), m.OldTupleType), m.OldTuple)
	case *pglogrepl.TruncateMessage:
		b = append(put32(b, m.RelationNum), m.Option)
		for _, id := range m.RelationIDs {
			b = put32(b, id)
		}
		return b
	case *pglogrepl.LogicalDecodingMessage:
		flags := byte(0)
		if m.Transactional {
			flags = 1
		}
		b = text(put64(append(b, flags), uint64(m.LSN)), m.Prefix)
		return append(put32(b, uint32(len(m.Content))), m.Content...)
	}
	return nil
}

func row(b []byte, t *pglogrepl.TupleData) []byte {
	b = binary.BigEndian.AppendUint16(b, t.ColumnNum)
	for _, c := range t.Columns {
		b = append(b, c.DataType)
		if c.DataType == 't' || c.DataType == 'b' {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(c.Data))), c.Data...)
		}
	}
	return b
}
