// Package evidence keeps what proves that a report was made: frozen bytes,
// raw answers and receipts.
//
// Promise: a report id exists only in a receipt, and a receipt only beside the
//
//	stored answer it was read from. Rows are inserted, never changed.
//
// State:   the tables submission_attempts, submission_inquiries and
//
//	submission_receipts.
//
// Failure: an insert fails with the transaction it is in.
package evidence

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/klauspost/compress/zstd"
)

// Status is the regulator's word about an item, as it wrote it.
type Status string

// Receipt is the regulator's answer for one item of a batch.
type Receipt struct {
	Status   Status
	Accepted bool     // what Status means
	ReportID event.ID // zero where the regulator gave none
	PairedID event.ID // the counterparty's report, once paired
	Message  string   // the regulator's reason, redacted
	Unknown  bool     // found by lookup, and the counterparty's report cannot be told from ours
}

// Answer is what came back for one request, as received.
type Answer struct {
	Status     int       // HTTP; 0 when none came
	Raw        []byte    // the body, as far as it came
	ServerDate time.Time // the Date header; zero when absent
}

var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)) })
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	})
)

// Compress makes the stored form of bytes that must be kept exactly.
func Compress(raw []byte) ([]byte, error) {
	e, err := encoder()
	if err != nil {
		return nil, err
	}
	return e.EncodeAll(raw, make([]byte, 0, len(raw)/4+64)), nil
}

// Expand gives back what Compress took.
func Expand(stored []byte) ([]byte, error) {
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	raw, err := d.DecodeAll(stored, nil)
	if err != nil {
		return nil, fmt.Errorf("expand stored bytes: %w", err)
	}
	return raw, nil
}

// ItemHashes concatenates the SHA-256 of each item's bytes.
func ItemHashes(items [][]byte) []byte {
	all := make([]byte, 0, len(items)*sha256.Size)
	for _, item := range items {
		sum := sha256.Sum256(item)
		all = append(all, sum[:]...)
	}
	return all
}

// MerkleRoot is the root of RFC 6962 over the item hashes: leaves and nodes are
// hashed apart, so a node can never pass for an item. It takes the
// concatenation that ItemHashes made.
func MerkleRoot(hashes []byte) [sha256.Size]byte {
	n := len(hashes) / sha256.Size
	if n == 0 {
		return sha256.Sum256(nil)
	}
	if n == 1 {
		return sha256.Sum256(append([]byte{0}, hashes...))
	}
	split := 1
	for split*2 < n {
		split *= 2
	}
	left, right := MerkleRoot(hashes[:split*sha256.Size]), MerkleRoot(hashes[split*sha256.Size:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}
