package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/fault"
	"github.com/finnest/event-runtime/internal/flush"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/jackc/pgx/v5"
)

// draft is a batch about to be sealed.
type draft struct {
	id       event.ID
	lane     LaneKey
	reason   string
	events   []event.ID
	items    [][]byte
	bytes    int
	deadline time.Time
	oldest   time.Time
	parent   *event.ID
	state    State
	unseen   []event.ID // accepted, but not visible yet

	correction bool // its events are of days that had been closed
}

// visibleWithin is how long an accepted event may be missing from the outbox.
// Its commit is in the log before other sessions see it, and change data capture
// reads the log: a worker can be faster than Postgres is at ending the
// producer's transaction. An event that stays away longer was never there.
const visibleWithin = 30 * time.Second

// chunk is a row of lane_chunks that a seal looks at.
type chunk struct {
	id       int64
	items    int
	bytes    int64
	oldest   time.Time
	deadline time.Time
	events   []event.ID

	correction bool // of a day that had been closed
}

const sqlLevel = `
SELECT coalesce(sum(items), 0)::int, coalesce(sum(bytes), 0)::bigint, coalesce(min(oldest), @now), coalesce(min(deadline), @now)
  FROM event_runtime.lane_chunks
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id`

// Every chunk holds at least one item, so no more rows than items are needed.
const sqlChunks = `
SELECT chunk_id, items, bytes, oldest, deadline, correction FROM event_runtime.lane_chunks
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id
 ORDER BY deadline, chunk_id LIMIT @max_items`

const sqlTakeChunks = `DELETE FROM event_runtime.lane_chunks WHERE chunk_id = any(@chunk_ids::bigint[]) RETURNING chunk_id, event_ids`

const sqlPutBack = `
INSERT INTO event_runtime.lane_chunks (tenant_id, ecosystem, api, organisation_id, event_ids, items, bytes, oldest, deadline, correction)
VALUES (@tenant_id, @ecosystem, @api, @organisation_id, @event_ids, @items, @bytes, @oldest, @deadline, @correction)`

const sqlReadEvents = `
SELECT event_id, event_type, version, occurred_at, coalesce(aggregate_type, ''), coalesce(aggregate_id, ''), aggregate_version,
       coalesce(idempotency_key, ''), coalesce(correlation_id, ''), coalesce(traceparent, ''), coalesce(source, ''), payload::text
  FROM event_runtime.outbox WHERE tenant_id = @tenant_id AND recorded_on = @day AND event_id = any(@event_ids::uuid[])`

const sqlSeal = `
INSERT INTO event_runtime.export_batches (batch_id, tenant_id, ecosystem, api, organisation_id, state, reason, items, event_ids, item_hashes, merkle_root,
       body, body_bytes, body_sha256, deadline, oldest, sealed_at, changed_at, parent_id)
VALUES (@batch_id, @tenant_id, @ecosystem, @api, @organisation_id, @state, @reason, @items, @event_ids, @item_hashes, @merkle_root,
       @body, @body_bytes, @body_sha256, @deadline, @oldest, @now, @now, @parent_id)`

// seal makes a batch of what is due in a lane: it takes chunks, freezes their
// bytes and puts back what is too much, all or nothing. A nil batch means that
// nothing is due, or that nothing of it could be reported.
func (d *Desk) seal(ctx context.Context, c *claim, policy flush.Policy) (*row, error) {
	var sealed *draft
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := c.hold(ctx, tx); err != nil {
			return err
		}
		var level flush.Level
		if err := tx.QueryRow(ctx, sqlLevel, c.args(pgx.NamedArgs{"now": d.now()})).Scan(&level.Items, &level.Bytes, &level.Oldest, &level.Deadline); err != nil {
			return fmt.Errorf("read level: %w", err)
		}
		reason, _ := policy.Due(level, d.now())
		if !reason.Due() {
			return nil
		}
		b, err := d.gather(ctx, tx, c, policy)
		if err != nil || len(b.items) == 0 {
			return err
		}
		if b.correction {
			reason = flush.Correction
		}
		b.reason, b.state = string(reason), Sealed
		if d.tenants().Config(c.key.TenantID, c.key.Ecosystem, c.key.API).RequiresApproval {
			b.state = AwaitingApproval
		}
		sealed = b
		return d.freeze(ctx, tx, b)
	})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if sealed == nil {
		return nil, nil //nolint:nilnil // nothing to seal is an answer
	}
	crash.Point("after_seal")
	d.metrics.sealed(ctx, sealed)
	d.log.Info().Str("event", "batch.sealed").Stringer("batch_id", sealed.id).Str("tenant_id", c.key.TenantID).Str("api", c.key.API).
		Str("reason", sealed.reason).Int("items", len(sealed.items)).Int("bytes", sealed.bytes).Str("state", string(sealed.state)).Send()
	if sealed.state != Sealed {
		return nil, nil //nolint:nilnil // it waits for somebody
	}
	return d.nextSealed(ctx, c.key)
}

// gather takes chunks until the batch is full.
func (d *Desk) gather(ctx context.Context, tx pgx.Tx, c *claim, policy flush.Policy) (*draft, error) {
	chunks, err := takeChunks(ctx, tx, c, policy.MaxItems)
	if err != nil {
		return nil, err
	}
	b := &draft{id: event.NewID(d.now()), lane: c.key, bytes: 2, correction: len(chunks) > 0 && chunks[0].correction}
	room := policy.MaxItems
	for _, ch := range chunks {
		used := 0
		b.unseen = nil
		if room > 0 {
			if used, err = d.encode(ctx, tx, b, ch, room, int(policy.MaxBytes)); err != nil {
				return nil, err
			}
			room = policy.MaxItems - len(b.items)
		}
		if len(b.unseen) > 0 {
			if err := putBack(ctx, tx, c, ch, b.unseen); err != nil {
				return nil, err
			}
		}
		if used < len(ch.events) {
			room = 0 // full, by count or by size: what follows would overtake
			if err := putBack(ctx, tx, c, ch, ch.events[used:]); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func takeChunks(ctx context.Context, tx pgx.Tx, c *claim, maxItems int) ([]*chunk, error) {
	rows, err := tx.Query(ctx, sqlChunks, c.args(pgx.NamedArgs{"max_items": maxItems}))
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*chunk, error) {
		var ch chunk
		err := row.Scan(&ch.id, &ch.items, &ch.bytes, &ch.oldest, &ch.deadline, &ch.correction)
		return &ch, err
	})
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	byID, ids, items := map[int64]*chunk{}, []int64{}, 0
	for _, ch := range all {
		if items >= maxItems || ch.correction != all[0].correction {
			break
		}
		items += ch.items
		ids = append(ids, ch.id)
		byID[ch.id] = ch
	}
	rows, err = tx.Query(ctx, sqlTakeChunks, pgx.NamedArgs{"chunk_ids": ids})
	if err != nil {
		return nil, fmt.Errorf("take chunks: %w", err)
	}
	var id int64
	var events []event.ID
	_, err = pgx.ForEachRow(rows, []any{&id, &events}, func() error {
		byID[id].events = events
		events = nil
		return nil
	})
	return all[:len(ids)], err
}

func putBack(ctx context.Context, tx pgx.Tx, c *claim, ch *chunk, rest []event.ID) error {
	_, err := tx.Exec(ctx, sqlPutBack, c.args(pgx.NamedArgs{
		"event_ids": rest, "items": len(rest), "bytes": ch.bytes * int64(len(rest)) / int64(ch.items), "oldest": ch.oldest, "deadline": ch.deadline,
		"correction": ch.correction,
	}))
	if err != nil {
		return fmt.Errorf("put back rest of chunk: %w", err)
	}
	return nil
}

// encode adds the items of a chunk to b until it is full, and says how many of
// the chunk's events are dealt with. One that can never be reported goes to
// quarantine: its neighbours are sent.
func (d *Desk) encode(ctx context.Context, tx pgx.Tx, b *draft, ch *chunk, room, maxBytes int) (used int, err error) {
	adapter := d.adapters[b.lane.Ecosystem]
	wanted := ch.events[:min(len(ch.events), room)]
	events, err := readEvents(ctx, tx, b.lane, wanted)
	if err != nil {
		return 0, err
	}
	for i, id := range wanted {
		e := events[id]
		if e == nil && d.now().Sub(ch.oldest) < visibleWithin {
			b.unseen = append(b.unseen, id)
			continue
		}
		var item []byte
		err := error(&fault.Error{Class: fault.Permanent, Code: "event_missing"})
		if e != nil {
			item, err = adapter.Encode(b.lane.API, e)
		}
		if err != nil {
			if err := d.setAside(ctx, tx, b.lane, id, nil, fault.From(err).Code); err != nil {
				return 0, err
			}
			continue
		}
		if len(b.items) > 0 && b.bytes+len(item)+1 > maxBytes {
			return i, nil
		}
		b.items, b.events, b.bytes = append(b.items, item), append(b.events, id), b.bytes+len(item)+1
	}
	if b.deadline.IsZero() || ch.deadline.Before(b.deadline) {
		b.deadline = ch.deadline
	}
	if b.oldest.IsZero() || ch.oldest.Before(b.oldest) {
		b.oldest = ch.oldest
	}
	return len(wanted), nil
}

// readEvents fetches rows by primary key, one partition at a time.
func readEvents(ctx context.Context, tx pgx.Tx, lane LaneKey, ids []event.ID) (map[event.ID]*event.Envelope, error) {
	days := map[time.Time][]event.ID{}
	for _, id := range ids {
		days[id.Day()] = append(days[id.Day()], id)
	}
	found := make(map[event.ID]*event.Envelope, len(ids))
	for day, of := range days {
		rows, err := tx.Query(ctx, sqlReadEvents, pgx.NamedArgs{"tenant_id": lane.TenantID, "day": day, "event_ids": of})
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
			e := &event.Envelope{TenantID: lane.TenantID, Ecosystem: lane.Ecosystem, RecordedOn: day}
			err := row.Scan(&e.EventID, &e.Type, &e.Version, &e.OccurredAt, &e.AggregateType, &e.AggregateID, &e.AggregateVersion,
				&e.IdempotencyKey, &e.CorrelationID, &e.Traceparent, &e.Source, (*[]byte)(&e.Payload))
			found[e.EventID] = e
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
	}
	return found, nil
}

// freeze stores the bytes that every attempt will send.
func (d *Desk) freeze(ctx context.Context, tx pgx.Tx, b *draft) error {
	body := d.adapters[b.lane.Ecosystem].Pack(b.lane.API, b.items)
	stored, err := evidence.Compress(body)
	if err != nil {
		return err
	}
	sum, hashes := sha256.Sum256(body), evidence.ItemHashes(b.items)
	root := evidence.MerkleRoot(hashes)
	b.bytes = len(body)
	crash.Point("in_seal_tx")
	_, err = tx.Exec(ctx, sqlSeal, pgx.NamedArgs{
		"batch_id": b.id, "tenant_id": b.lane.TenantID, "ecosystem": b.lane.Ecosystem, "api": b.lane.API, "organisation_id": b.lane.OrganisationID,
		"state": string(b.state), "reason": b.reason, "items": len(b.items), "event_ids": b.events, "item_hashes": hashes, "merkle_root": root[:],
		"body": stored, "body_bytes": len(body), "body_sha256": sum[:], "deadline": b.deadline, "oldest": b.oldest, "now": d.now(), "parent_id": b.parent,
	})
	if err != nil {
		return fmt.Errorf("store batch %s: %w", b.id, err)
	}
	return nil
}

// setAside puts an event before a person.
func (d *Desk) setAside(ctx context.Context, tx pgx.Tx, lane LaneKey, id event.ID, batch *event.ID, reason string) error {
	day := id.Day()
	_, err := quarantine.Insert(ctx, tx, quarantine.Entry{
		Stage: quarantine.Submit, Consumer: "pcm-" + lane.Ecosystem, Key: id.String(), TenantID: lane.TenantID, EventID: &id, RecordedOn: &day,
		Reason: reason, BatchID: batch,
	})
	return err
}

// row is a batch as it stands in the table.
type row struct {
	Batch
	state    State
	lastCode Code
	items    int
	oldest   time.Time
	deadline time.Time
	first    *time.Time // the first attempt began
	posted   *time.Time // the newest attempt began
	token    *int64     // of the lane, when it was posted
}

const sqlNextSealed = `
SELECT batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, coalesce(code, ''), items, event_ids, body, oldest, deadline,
       first_posted_at, posted_at, token
  FROM event_runtime.export_batches
 WHERE tenant_id = @tenant_id AND ecosystem = @ecosystem AND api = @api AND organisation_id = @organisation_id
   AND state = 'sealed' AND (not_before IS NULL OR not_before <= @now)
 ORDER BY deadline, batch_id LIMIT 1`

// nextSealed is the sealed batch of a lane that is due first, or nil.
func (d *Desk) nextSealed(ctx context.Context, k LaneKey) (*row, error) {
	args := pgx.NamedArgs{"tenant_id": k.TenantID, "ecosystem": k.Ecosystem, "api": k.API, "organisation_id": k.OrganisationID, "now": d.now()}
	b, err := scanRow(d.pool.QueryRow(ctx, sqlNextSealed, args))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // an empty lane is an answer
	}
	return b, err
}

func scanRow(r pgx.Row) (*row, error) {
	var b row
	var body []byte
	err := r.Scan(&b.ID, &b.TenantID, &b.Ecosystem, &b.API, &b.OrganisationID, &b.state, &b.Attempt, &b.lastCode, &b.items, &b.EventIDs, &body,
		&b.oldest, &b.deadline, &b.first, &b.posted, &b.token)
	if err != nil {
		return nil, err
	}
	b.FreshToken = b.lastCode == Unauthorized
	b.Body, err = evidence.Expand(body)
	return &b, err
}

func (b *row) lane() LaneKey {
	return LaneKey{TenantID: b.TenantID, Ecosystem: b.Ecosystem, API: b.API, OrganisationID: b.OrganisationID}
}
