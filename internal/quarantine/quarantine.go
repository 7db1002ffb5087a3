// Package quarantine keeps what a person must look at, and nothing else.
//
// Promise: a thing set aside is a committed row before anybody is answered;
//
//	the row names ids, hash, size and place, never a value.
//
// State:   the table quarantine; its copies in the stream DLQ are announcements.
// Failure: an announcement that cannot be published is repeated from the row.
package quarantine

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// Stage is where on its way an event was set aside.
type Stage string

// Stages.
const (
	Ingest Stage = "ingest" // no consumer row: the message itself is the trouble
	Submit Stage = "submit" // accepted, and could not be reported
)

// Unpublished is the consumer of an event that can never be published: the same
// row, whether the relay, the bridge or the sweeper met it.
const Unpublished = "relay"

// Entry is one thing set aside.
type Entry struct {
	Stage      Stage
	Consumer   string
	Key        string // the same thing again has the same key
	TenantID   string
	EventID    *event.ID
	RecordedOn *time.Time
	Reason     string
	Detail     string
	Subject    string
	SHA256     []byte
	Bytes      int
	Stream     string
	StreamSeq  uint64
	BatchID    *event.ID
}

const sqlInsert = `
INSERT INTO event_runtime.quarantine (stage, consumer, dedup_key, tenant_id, recorded_on, event_id, reason, detail, subject, payload_sha256, payload_bytes, stream, stream_seq, batch_id)
VALUES (@stage, @consumer, @dedup_key, nullif(@tenant_id, ''), @recorded_on, @event_id, @reason, nullif(@detail, ''), nullif(@subject, ''), @sha256, nullif(@bytes, 0), nullif(@stream, ''), nullif(@stream_seq, 0)::bigint, @batch_id)
ON CONFLICT (stage, consumer, dedup_key) DO NOTHING`

// Insert stores e in tx, and says whether it is new: setting the same thing
// aside again changes nothing.
func Insert(ctx context.Context, tx pgx.Tx, e Entry) (isNew bool, err error) {
	tag, err := tx.Exec(ctx, sqlInsert, pgx.NamedArgs{
		"stage": string(e.Stage), "consumer": e.Consumer, "dedup_key": e.Key, "tenant_id": e.TenantID, "recorded_on": e.RecordedOn, "event_id": e.EventID,
		"reason": e.Reason, "detail": denylist.Clean(e.Detail), "subject": denylist.Clean(e.Subject), "sha256": e.SHA256, "bytes": e.Bytes,
		"stream": e.Stream, "stream_seq": int64(e.StreamSeq), "batch_id": e.BatchID,
	})
	if err != nil {
		return false, fmt.Errorf("quarantine %s: %w", e.Reason, err)
	}
	return tag.RowsAffected() > 0, nil
}
