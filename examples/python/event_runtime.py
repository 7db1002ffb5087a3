"""Appends events to event-runtime's outbox, inside a transaction of the caller's
own: the event exists if and only if that transaction commits.
"""

import json
import os
import re
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

import psycopg2
from psycopg2 import errorcodes


@dataclass(frozen=True)
class Event:
    tenant_id: str
    ecosystem: str  # ofb, opin or platform
    type: str  # such as consent.advanced
    payload: Any
    id: Optional[str] = None  # of new_event_id(), kept over retries; without one the database makes it
    version: int = 1  # of the type's schema
    occurred_at: Optional[datetime] = None  # with its time zone; now when left out
    aggregate_type: Optional[str] = None
    aggregate_id: Optional[str] = None
    aggregate_version: Optional[int] = None  # consumers order by it: arrival has no order
    idempotency_key: Optional[str] = None
    correlation_id: Optional[str] = None
    traceparent: Optional[str] = None  # W3C; a malformed one is dropped
    source: Optional[str] = None
    subject: Any = None  # whom it concerns


class EventRefused(Exception):
    """An event that the outbox does not take. It names the place and never the
    value, which Postgres's own message would. Nothing of the transaction can be
    kept.
    """

    def __init__(self, field: str, hint: str):
        super().__init__(f"event refused: {field}: {hint}")
        self.field, self.hint = field, hint


class AlreadyAppended(Exception):
    """An event with this id is in the outbox: an earlier try was committed after
    all. Roll back, and be content.
    """


def new_event_id() -> str:
    """Makes a UUIDv7. Make it once for each change, before the first try: that is
    what makes a retry harmless.
    """
    made = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    made[6] = 0x70 | made[6] & 0x0F
    made[8] = 0x80 | made[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(made)))


SQL_APPEND = """
SELECT event_runtime.append_event(
  tenant_id => %(tenant_id)s, ecosystem => %(ecosystem)s, event_type => %(type)s, payload => %(payload)s::jsonb,
  version => %(version)s, occurred_at => %(occurred_at)s, event_id => %(id)s::uuid,
  aggregate_type => %(aggregate_type)s, aggregate_id => %(aggregate_id)s, aggregate_version => %(aggregate_version)s,
  idempotency_key => %(idempotency_key)s, correlation_id => %(correlation_id)s, traceparent => %(traceparent)s,
  source => %(source)s, subject => %(subject)s::jsonb)"""

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def append_event(cursor, event: Event) -> str:
    """Appends event in the transaction that cursor is in, and gives its id."""
    values = {name: None if value == "" else value for name, value in vars(event).items()}
    if not TRACEPARENT.fullmatch(event.traceparent or ""):
        values["traceparent"] = None
    values["payload"], values["subject"] = _json(event.payload), _json(event.subject)
    try:
        cursor.execute(SQL_APPEND, values)
        return cursor.fetchone()[0]
    except psycopg2.Error as error:
        explained = _explained(error, event)
        if explained is None:
            raise
        raise explained from None  # its message holds the row


def _json(value: Any) -> Optional[str]:
    return None if value is None else json.dumps(value, allow_nan=False)


REFUSALS = {
    "outbox_tenant_id_check": ("tenant_id", "want lower-case letters, digits and dashes, at most 40"),
    "outbox_ecosystem_check": ("ecosystem", "want ofb, opin or platform"),
    "outbox_event_type_check": (
        "event_type", "want lower-case words with dots between, at most 100 characters, such as consent.advanced"),
    "outbox_payload_check": ("payload", "more than 256 KiB as JSON: append what consumers need, and where the rest is"),
    "outbox_day_of_id": ("event_id", "want a UUIDv7: new_event_id()"),
    "append_clock_guard": (
        "event_id",
        "not made within the last 24 hours, or ahead: new_event_id() when the change is made, and look at this machine's clock"),
    "outbox_plain_years": ("occurred_at", "want a year from 1 to 9999"),
}

BY_STATE = {
    errorcodes.INVALID_TEXT_REPRESENTATION: ("event_id", "want a UUIDv7: new_event_id()"),  # no other cast can fail
    errorcodes.UNTRANSLATABLE_CHARACTER: ("payload", "holds a NUL character, which Postgres cannot store"),
    errorcodes.INSUFFICIENT_PRIVILEGE: ("connection", "this role may not append: connect as runtime_producer"),
    # Without a constraint it is a missing partition.
    errorcodes.CHECK_VIOLATION: (
        "outbox", "has no table for today: its operator runs `event-runtime migrate`, which makes days ahead"),
}


def _explained(error: psycopg2.Error, event: Event) -> Optional[Exception]:
    """Says in words what Postgres refused; None for what is not about the event."""
    if error.diag.constraint_name in REFUSALS:
        return EventRefused(*REFUSALS[error.diag.constraint_name])
    if error.pgcode == errorcodes.UNIQUE_VIOLATION:
        return AlreadyAppended(f"event {event.id} is in the outbox already")
    if error.pgcode == errorcodes.NOT_NULL_VIOLATION:
        return EventRefused(error.diag.column_name or "event", "must be there")
    if error.pgcode in BY_STATE:
        return EventRefused(*BY_STATE[error.pgcode])
    return None
