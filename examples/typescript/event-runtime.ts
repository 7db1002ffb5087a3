// Appends events to event-runtime's outbox, inside a transaction of the caller's
// own: the event exists if and only if that transaction commits.

import { randomBytes } from "crypto";
import { ClientBase } from "pg";

export interface Event {
  id?: string; // of newEventId(), kept over retries; without one the database makes it
  tenantId: string;
  ecosystem: "ofb" | "opin" | "platform";
  type: string; // such as consent.advanced
  payload: unknown;
  version?: number; // of the type's schema; 1 when left out
  occurredAt?: Date; // now when left out
  aggregateType?: string;
  aggregateId?: string;
  aggregateVersion?: number | bigint; // consumers order by it: arrival has no order
  idempotencyKey?: string;
  correlationId?: string;
  traceparent?: string; // W3C; a malformed one is dropped
  source?: string;
  subject?: unknown; // whom it concerns
}

// An event that the outbox does not take. It names the place and never the value,
// which Postgres's own message would. Nothing of the transaction can be kept.
export class EventRefused extends Error {
  constructor(readonly field: string, readonly hint: string) {
    super(`event refused: ${field}: ${hint}`);
  }
}

// An event with this id is in the outbox: an earlier try was committed after all.
// Roll back, and be content.
export class AlreadyAppended extends Error {
  constructor(readonly id?: string) {
    super(`event ${id} is in the outbox already`);
  }
}

// newEventId makes a UUIDv7. Make it once for each change, before the first try:
// that is what makes a retry harmless.
export function newEventId(now = Date.now()): string {
  const id = randomBytes(16);
  id.writeUIntBE(now, 0, 6);
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const sqlAppend = `
SELECT event_runtime.append_event(
  tenant_id => $1, ecosystem => $2, event_type => $3, payload => $4::jsonb, version => $5::int, occurred_at => $6::timestamptz,
  event_id => $7::uuid, aggregate_type => $8, aggregate_id => $9, aggregate_version => $10::bigint, idempotency_key => $11,
  correlation_id => $12, traceparent => $13, source => $14, subject => $15::jsonb) AS id`;

const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

// appendEvent appends e in the transaction that tx is in, and gives its id.
export async function appendEvent(tx: ClientBase, e: Event): Promise<string> {
  const trace = e.traceparent && traceparent.test(e.traceparent) ? e.traceparent : null;
  try {
    const { rows } = await tx.query(sqlAppend, [
      e.tenantId, e.ecosystem, e.type, json(e.payload), e.version || 1, e.occurredAt?.toISOString() ?? null,
      e.id || null, e.aggregateType || null, e.aggregateId || null, e.aggregateVersion?.toString() ?? null, e.idempotencyKey || null,
      e.correlationId || null, trace, e.source || null, json(e.subject),
    ]);
    return rows[0].id;
  } catch (err) {
    throw explained(err as SqlError, e);
  }
}

// json is a document, or NULL for what JSON has no word for.
function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value) ?? null;
}

interface SqlError extends Error {
  code?: string; // SQLSTATE
  constraint?: string;
  column?: string;
}

const refusals: { [constraint: string]: [field: string, hint: string] } = {
  outbox_tenant_id_check: ["tenant_id", "want lower-case letters, digits and dashes, at most 40"],
  outbox_ecosystem_check: ["ecosystem", "want ofb, opin or platform"],
  outbox_event_type_check: ["event_type", "want lower-case words with dots between, at most 100 characters, such as consent.advanced"],
  outbox_payload_check: ["payload", "more than 256 KiB as JSON: append what consumers need, and where the rest is"],
  outbox_day_of_id: ["event_id", "want a UUIDv7: newEventId()"],
  append_clock_guard: ["event_id", "not made within the last 24 hours, or ahead: newEventId() when the change is made, and look at this machine's clock"],
  outbox_plain_years: ["occurred_at", "want a year from 1 to 9999"],
};

// explained says in words what Postgres refused; what is not about the event is
// passed on.
function explained(err: SqlError, e: Event): Error {
  if (err.constraint && refusals[err.constraint]) {
    return new EventRefused(...refusals[err.constraint]);
  }
  switch (err.code) {
    case "23505": // unique_violation
      return new AlreadyAppended(e.id);
    case "23502": // not_null_violation
      return new EventRefused(err.column ?? "event", "must be there");
    case "22P02": // invalid_text_representation: of the casts above only this one can fail
      return new EventRefused("event_id", "want a UUIDv7: newEventId()");
    case "22P05": // untranslatable_character
      return new EventRefused("payload", "holds a NUL character, which Postgres cannot store");
    case "42501": // insufficient_privilege
      return new EventRefused("connection", "this role may not append: connect as runtime_producer");
    case "23514": // check_violation without a constraint: no partition
      return new EventRefused("outbox", "has no table for today: its operator runs `event-runtime migrate`, which makes days ahead");
    default:
      return err;
  }
}
