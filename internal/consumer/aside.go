package consumer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/jackc/pgx/v5"
)

// entry is what a person will see of a message.
func entry(consumer string, d Decision) quarantine.Entry {
	sum := sha256.Sum256(d.Message.Body)
	e := quarantine.Entry{Stage: quarantine.Ingest, Consumer: consumer, Key: hex.EncodeToString(sum[:]), Reason: string(d.Reason), Detail: d.Where,
		Subject: d.Message.Subject, SHA256: sum[:], Bytes: len(d.Message.Body), Stream: d.Message.Stream, StreamSeq: d.Message.Seq}
	w, ok := d.about()
	if !ok {
		w.id, ok = d.Message.id()
		if at, parsed := event.ParseSubject(d.Message.Subject); parsed {
			w.tenant = at.Tenant
		}
	}
	e.TenantID = w.tenant
	if ok {
		day := w.id.Day()
		e.EventID, e.RecordedOn, e.Key = &w.id, &day, w.tenant+"/"+w.id.String()
	}
	return e
}

// id is the event id of a message that is not an event we can take: by the
// header, or by its record where a backfill has put something else there.
func (m Message) id() (event.ID, bool) {
	if id, err := event.ParseID(m.MsgID); err == nil && id.IsV7() {
		return id, true
	}
	var body struct {
		Record struct {
			EventID string `json:"event_id"`
		} `json:"record"`
	}
	if json.Unmarshal(m.Body, &body) != nil {
		return event.ID{}, false
	}
	id, err := event.ParseID(body.Record.EventID)
	return id, err == nil && id.IsV7()
}

const sqlConflict = `
INSERT INTO event_runtime.event_conflicts (consumer, tenant_id, recorded_on, event_id, first_hash, other_hash, subject, stream, stream_seq)
VALUES (@consumer, @tenant_id, @recorded_on, @event_id, @first_hash, @other_hash, @subject, @stream, @stream_seq)
ON CONFLICT DO NOTHING`

func (s *store) conflict(ctx context.Context, tx pgx.Tx, d Decision, stored Stored) error {
	w, _ := d.about()
	other := d.sum()
	_, err := tx.Exec(ctx, sqlConflict, pgx.NamedArgs{"consumer": s.consumer, "tenant_id": w.tenant, "recorded_on": w.id.Day(), "event_id": w.id,
		"first_hash": stored.Hash[:], "other_hash": other[:], "subject": denylist.Clean(d.Message.Subject), "stream": d.Message.Stream, "stream_seq": int64(d.Message.Seq)})
	if err != nil {
		return fmt.Errorf("store conflict: %w", err)
	}
	return nil
}
