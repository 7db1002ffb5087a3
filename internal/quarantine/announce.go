package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Notice is what the stream DLQ is told: ids, hash and reason, no payload.
type Notice struct {
	ID        int64     `json:"quarantine_id"`
	Stage     Stage     `json:"stage"`
	Consumer  string    `json:"consumer"`
	TenantID  string    `json:"tenant_id,omitzero"`
	EventID   *event.ID `json:"event_id,omitzero"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitzero"`
	SHA256    []byte    `json:"payload_sha256,omitzero"`
	Bytes     int       `json:"payload_bytes,omitzero"`
	Stream    string    `json:"stream,omitzero"`
	StreamSeq int64     `json:"stream_seq,omitzero"`
	CreatedAt time.Time `json:"created_at"`
}

const sqlUnannounced = `
SELECT quarantine_id, stage, consumer, coalesce(tenant_id, ''), event_id, reason, coalesce(detail, ''), payload_sha256, coalesce(payload_bytes, 0),
       coalesce(stream, ''), coalesce(stream_seq, 0), created_at
  FROM event_runtime.quarantine WHERE published_at IS NULL ORDER BY quarantine_id LIMIT 100 FOR UPDATE SKIP LOCKED`

const sqlAnnounced = `UPDATE event_runtime.quarantine SET published_at = clock_timestamp() WHERE quarantine_id = any(@ids::bigint[])`

// announceFor bounds how long messages wait for their announcement.
const announceFor = 2 * time.Second

// Announce publishes every entry that has not been, and remembers which were
// acknowledged. Whoever comes first announces: the rows are locked meanwhile.
func Announce(ctx context.Context, pool *pgxpool.Pool, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, announceFor)
	defer cancel()
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlUnannounced)
		if err != nil {
			return fmt.Errorf("read unannounced: %w", err)
		}
		notices, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Notice, err error) {
			err = row.Scan(&n.ID, &n.Stage, &n.Consumer, &n.TenantID, &n.EventID, &n.Reason, &n.Detail, &n.SHA256, &n.Bytes, &n.Stream, &n.StreamSeq, &n.CreatedAt)
			return n, err
		})
		if err != nil {
			return fmt.Errorf("read unannounced: %w", err)
		}
		var done []int64
		var failed error
		for _, n := range notices {
			n.TenantID = denylist.Clean(n.TenantID) // a slug can read as a taxpayer's number
			if failed = publish(ctx, js, n); failed != nil {
				break
			}
			done = append(done, n.ID)
		}
		if len(done) == 0 {
			return failed
		}
		// What was told was told; the rest is told next time.
		if _, err := tx.Exec(ctx, sqlAnnounced, pgx.NamedArgs{"ids": done}); err != nil {
			return errors.Join(failed, fmt.Errorf("mark announced: %w", err))
		}
		return nil
	})
}

func publish(ctx context.Context, js jetstream.JetStream, n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("marshal notice: %w", err)
	}
	msg := nats.NewMsg(transport.DLQSubject(n.Consumer, n.TenantID, n.Reason))
	msg.Data = body
	_, err = js.PublishMsg(ctx, msg, jetstream.WithMsgID(fmt.Sprintf("quarantine-%d", n.ID)), jetstream.WithExpectStream(transport.DLQ))
	if err != nil {
		return fmt.Errorf("publish to %s: %w", msg.Subject, err)
	}
	return nil
}
