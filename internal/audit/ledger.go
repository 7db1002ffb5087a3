// Package audit is the ledger of changes: one hash chain per tenant, and one
// called platform.
//
// Promise: an entry exists if and only if the change it records was committed;
//
//	no entry can be changed, removed or put in between without Verify naming
//	the first row that does not fit.
//
// State:   the table audit_ledger.
// Failure: Append fails with the transaction it is in. A cut tail looks whole
//
//	without an anchor kept outside the database.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
)

// PlatformChain holds what concerns no single tenant.
const PlatformChain = "platform"

// Change is what an entry records. Actor is an opaque id, never a name; Payload
// holds no personal data.
type Change struct {
	Chain   string // a tenant, or PlatformChain
	Actor   string
	Action  string // dotted, such as batch.resealed
	Subject string // what was changed, such as a batch id
	Payload any
}

// Row is one row of the ledger.
type Row struct {
	Chain         string
	Seq           int64
	TS            time.Time
	Actor         string
	Action        string
	Subject       string
	PayloadBytes  []byte
	PayloadSHA256 []byte
	PrevHash      []byte
	Hash          []byte
}

const sqlLock = `SELECT pg_advisory_xact_lock(hashtextextended('event_runtime.audit.' || @chain, 0))`

const sqlHead = `
SELECT seq, ts, hash FROM event_runtime.audit_ledger WHERE chain_id = @chain ORDER BY seq DESC LIMIT 1`

const sqlAppend = `
INSERT INTO event_runtime.audit_ledger (chain_id, seq, ts, actor, action, subject, payload_bytes, payload_sha256, prev_hash, hash)
VALUES (@chain, @seq, @ts, @actor, @action, @subject, @payload_bytes, @payload_sha256, @prev_hash, @hash)`

// Append records c in tx. A transaction that appends to several chains does so
// in sorted order, or two of them could wait for each other.
func Append(ctx context.Context, tx pgx.Tx, now time.Time, c Change) error {
	payload, err := json.Marshal(c.Payload)
	if err != nil {
		return fmt.Errorf("audit payload of %s: %w", c.Action, err)
	}
	canonical := jsontext.Value(payload)
	if err := errors.Join(exact(canonical), canonical.Canonicalize()); err != nil {
		return fmt.Errorf("audit payload of %s: %w", c.Action, err)
	}
	if _, err := tx.Exec(ctx, sqlLock, pgx.NamedArgs{"chain": c.Chain}); err != nil {
		return fmt.Errorf("lock audit chain %s: %w", c.Chain, err)
	}
	var head Row
	err = tx.QueryRow(ctx, sqlHead, pgx.NamedArgs{"chain": c.Chain}).Scan(&head.Seq, &head.TS, &head.Hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read head of audit chain %s: %w", c.Chain, err)
	}
	row := Next(head, c, canonical, now)
	crash.Point("in_audit_append")
	_, err = tx.Exec(ctx, sqlAppend, pgx.NamedArgs{
		"chain": row.Chain, "seq": row.Seq, "ts": row.TS, "actor": row.Actor, "action": row.Action, "subject": row.Subject,
		"payload_bytes": row.PayloadBytes, "payload_sha256": row.PayloadSHA256, "prev_hash": row.PrevHash, "hash": row.Hash,
	})
	if err != nil {
		return fmt.Errorf("append to audit chain %s: %w", c.Chain, err)
	}
	return nil
}

// exact refuses integers that the canonical form would change without a word:
// its numbers are float64.
func exact(payload jsontext.Value) error {
	in := jsontext.NewDecoder(bytes.NewReader(payload))
	for {
		token, err := in.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if token.Kind() != '0' || strings.ContainsAny(token.String(), ".eE") {
			continue
		}
		if n, err := strconv.ParseInt(token.String(), 10, 64); err != nil || n > 1<<53 || n < -1<<53 {
			return errors.New("an integer beyond 2^53: give it as a string")
		}
	}
}

// Next is the row that follows head; a zero head begins the chain. The time
// never goes back, whatever the clock does.
func Next(head Row, c Change, payload []byte, now time.Time) Row {
	now = now.UTC().Truncate(time.Microsecond) // what Postgres keeps
	if head.TS.After(now) {
		now = head.TS.UTC()
	}
	prev := head.Hash
	if head.Seq == 0 {
		prev = make([]byte, sha256.Size)
	}
	sum := sha256.Sum256(payload)
	row := Row{Chain: c.Chain, Seq: head.Seq + 1, TS: now, Actor: c.Actor, Action: c.Action, Subject: c.Subject,
		PayloadBytes: payload, PayloadSHA256: sum[:], PrevHash: prev}
	row.Hash = row.Sum()
	return row
}

// domain separates these hashes from all others.
const domain = "event-runtime/audit/v1"

// Sum is SHA-256 over the domain and every column but hash, in order, each with
// its length in 4 bytes in front.
func (r Row) Sum() []byte {
	h := sha256.New()
	part := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(r.Seq))
	part([]byte(domain))
	part([]byte(r.Chain))
	part(seq[:])
	part([]byte(r.TS.UTC().Format("2006-01-02T15:04:05.000000Z")))
	part([]byte(r.Actor))
	part([]byte(r.Action))
	part([]byte(r.Subject))
	part(r.PayloadBytes)
	part(r.PayloadSHA256)
	part(r.PrevHash)
	return h.Sum(nil)
}
