package evidence

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
)

// Attempt is one request that left, or may have left.
type Attempt struct {
	BatchID  event.ID
	Number   int
	Outcome  string // never_sent, refused, receipts, unknown
	Code     string
	PostedAt time.Time
	EndedAt  time.Time
	Answer   Answer
	Detail   string // words about a failure; no payload, no secret
	Late     bool   // the answer came after the batch had been given up as unconfirmed
}

const sqlInsertAttempt = `
INSERT INTO event_runtime.submission_attempts (batch_id, attempt, outcome, code, http_status, posted_at, ended_at, server_date, raw, raw_bytes, raw_sha256, detail, late)
VALUES (@batch_id, @attempt, @outcome, @code, nullif(@http_status, 0), @posted_at, @ended_at, @server_date, @raw, @raw_bytes, @raw_sha256, nullif(@detail, ''), @late)`

// InsertAttempt stores an attempt with its raw answer.
func InsertAttempt(ctx context.Context, tx pgx.Tx, a Attempt) error {
	args := pgx.NamedArgs{
		"batch_id": a.BatchID, "attempt": a.Number, "outcome": a.Outcome, "code": a.Code, "http_status": a.Answer.Status,
		"posted_at": a.PostedAt, "ended_at": a.EndedAt, "server_date": nullTime(a.Answer.ServerDate), "detail": a.Detail, "late": a.Late,
		"raw": nil, "raw_bytes": nil, "raw_sha256": nil,
	}
	if a.Answer.Raw != nil {
		raw, err := Compress(a.Answer.Raw)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(a.Answer.Raw)
		args["raw"], args["raw_bytes"], args["raw_sha256"] = raw, len(a.Answer.Raw), sum[:]
	}
	if _, err := tx.Exec(ctx, sqlInsertAttempt, args); err != nil {
		return fmt.Errorf("store attempt %d of batch %s: %w", a.Number, a.BatchID, err)
	}
	return nil
}

// Stored says which receipt belongs to which item.
type Stored struct {
	Position int
	EventID  event.ID
	Receipt  Receipt
}

// Origin says where receipts come from: the response to an attempt (Probe 0), or
// a round of asking about it.
type Origin struct {
	BatchID  event.ID
	TenantID string
	Attempt  int
	Probe    int
	Late     bool
	At       time.Time
}

const sqlInsertReceipts = `
INSERT INTO event_runtime.submission_receipts
       (received_on, batch_id, attempt, position, probe, tenant_id, event_id, source, status, accepted, side, report_id, paired_id, message, received_at, late)
SELECT @received_on::date, @batch_id::uuid, @attempt::int, r.position, @probe::int, @tenant_id::text, r.event_id,
       CASE WHEN @probe::int = 0 THEN 'response' ELSE 'lookup' END, r.status, r.accepted, r.side, r.report_id, r.paired_id, r.message, @received_at::timestamptz, @late::boolean
  FROM unnest(@position::int[], @event_id::uuid[], @status::text[], @accepted::boolean[], @side::text[], @report_id::uuid[], @paired_id::uuid[], @message::text[])
    AS r(position, event_id, status, accepted, side, report_id, paired_id, message)`

// InsertReceipts stores receipts in the transaction that moves their batch.
func InsertReceipts(ctx context.Context, tx pgx.Tx, from Origin, receipts []Stored) error {
	if len(receipts) == 0 {
		return nil
	}
	n := len(receipts)
	positions, events, statuses, accepted := make([]int32, n), make([]event.ID, n), make([]string, n), make([]bool, n)
	sides, reports, paired, messages := make([]string, n), make([]*event.ID, n), make([]*event.ID, n), make([]*string, n)
	for i, r := range receipts {
		positions[i], events[i], statuses[i], accepted[i], sides[i] = int32(r.Position), r.EventID, string(r.Receipt.Status), r.Receipt.Accepted, "ours"
		if r.Receipt.Unknown {
			sides[i] = "unknown"
		}
		reports[i], paired[i] = nullID(r.Receipt.ReportID), nullID(r.Receipt.PairedID)
		if r.Receipt.Message != "" {
			messages[i] = &receipts[i].Receipt.Message
		}
	}
	_, err := tx.Exec(ctx, sqlInsertReceipts, pgx.NamedArgs{
		"received_on": from.At.UTC().Truncate(24 * time.Hour), "batch_id": from.BatchID, "attempt": from.Attempt, "probe": from.Probe,
		"tenant_id": from.TenantID, "received_at": from.At, "late": from.Late, "position": positions, "event_id": events, "status": statuses,
		"accepted": accepted, "side": sides, "report_id": reports, "paired_id": paired, "message": messages,
	})
	if err != nil {
		return fmt.Errorf("store %d receipts of batch %s: %w", n, from.BatchID, err)
	}
	return nil
}

// Inquiry is one item asked about.
type Inquiry struct {
	Position int // -1: the control
	EventID  event.ID
	AskedAt  time.Time
	Kind     string // hit, absent, nothing
	Answer   Answer
}

const sqlInsertInquiry = `
INSERT INTO event_runtime.submission_inquiries (batch_id, attempt, probe, position, event_id, asked_at, http_status, answer, raw, raw_sha256)
VALUES (@batch_id, @attempt, @probe, @position, @event_id, @asked_at, nullif(@http_status, 0), @answer, @raw, @raw_sha256)
ON CONFLICT DO NOTHING`

// InsertInquiry stores one answer of a round. A round that is repeated after a
// crash keeps what it had.
func InsertInquiry(ctx context.Context, tx pgx.Tx, batch event.ID, attempt, probe int, q Inquiry) error {
	var raw, sum []byte
	if q.Answer.Raw != nil {
		var err error
		if raw, err = Compress(q.Answer.Raw); err != nil {
			return err
		}
		s := sha256.Sum256(q.Answer.Raw)
		sum = s[:]
	}
	_, err := tx.Exec(ctx, sqlInsertInquiry, pgx.NamedArgs{
		"batch_id": batch, "attempt": attempt, "probe": probe, "position": q.Position, "event_id": q.EventID, "asked_at": q.AskedAt,
		"http_status": q.Answer.Status, "answer": q.Kind, "raw": raw, "raw_sha256": sum,
	})
	if err != nil {
		return fmt.Errorf("store inquiry about item %d of batch %s: %w", q.Position, batch, err)
	}
	return nil
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func nullID(id event.ID) *event.ID {
	if id.IsZero() {
		return nil
	}
	return &id
}
