package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// Checker walks the rows of all chains in order of (chain, seq) and holds each
// against the one before. Its memory is one row.
type Checker struct{ last Row }

// Check says what is wrong with r as the successor of the row before, or "".
func (c *Checker) Check(r Row) string {
	prev := c.last
	c.last = r
	if prev.Chain != r.Chain {
		prev = Row{Hash: make([]byte, sha256.Size)}
	}
	sum := sha256.Sum256(r.PayloadBytes)
	switch {
	case r.Seq != prev.Seq+1:
		return fmt.Sprintf("sequence jumps from %d to %d", prev.Seq, r.Seq)
	case !bytes.Equal(r.PrevHash, prev.Hash):
		return "does not link to the row before"
	case r.TS.Before(prev.TS):
		return "time goes back"
	case !bytes.Equal(r.PayloadSHA256, sum[:]):
		return "payload does not match its hash"
	case !bytes.Equal(r.Hash, r.Sum()):
		return "row does not match its hash"
	}
	return ""
}
