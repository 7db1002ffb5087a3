"""Moves a consent to another state and appends the event that says so, in one
transaction: both are there, or neither.

    echo '{"consentId": "c-1", "state": "AUTHORISED"}' | python3 consent.py

DATABASE_URL (as runtime_producer) and TENANT_ID come from the environment.
"""

import json
import os
import sys
import time
from contextlib import closing

import psycopg2

from event_runtime import AlreadyAppended, Event, EventRefused, append_event, new_event_id


def advance(connection, change: dict, event_id: str) -> None:
    with connection, connection.cursor() as cursor:  # commits at its end, and rolls back for an error
        cursor.execute("SELECT state FROM bank.consents WHERE consent_id = %s FOR UPDATE", (change["consentId"],))
        before = cursor.fetchone()
        cursor.execute(
            """INSERT INTO bank.consents AS c (consent_id, state) VALUES (%s, %s)
               ON CONFLICT (consent_id) DO UPDATE SET state = excluded.state, version = c.version + 1 RETURNING version""",
            (change["consentId"], change["state"]))
        (version,) = cursor.fetchone()
        payload = {"state": change["state"]}
        if before:
            payload["previousState"] = before[0]
        append_event(cursor, Event(
            id=event_id, tenant_id=os.environ.get("TENANT_ID", ""), ecosystem="ofb", type="consent.advanced", payload=payload,
            aggregate_type="consent", aggregate_id=change["consentId"], aggregate_version=version, source="consents-api"))


def may_pass(error: psycopg2.Error) -> bool:
    """Tells a connection that broke, and a database that restarts, from what would
    be answered in the same way again.
    """
    return error.pgcode is None or error.pgcode.startswith(("08", "40", "53", "57P"))


def commit(change: dict) -> str:
    """Tries again with the same event, as often as that can help. A try whose
    answer was lost may have been committed: the next one finds its event there,
    and takes back what it did.
    """
    event_id = change.get("eventId") or new_event_id()
    for tries in range(1, 6):
        try:
            with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection:
                advance(connection, change, event_id)
                return event_id
        except AlreadyAppended:
            return event_id
        except psycopg2.Error as error:
            if tries == 5 or not may_pass(error):
                raise
            time.sleep(0.1 * 2**tries)
    raise AssertionError("unreachable")


def main() -> int:
    try:
        print(json.dumps({"eventId": commit(json.load(sys.stdin))}))
        return 0
    except (EventRefused, psycopg2.Error, ValueError) as error:  # ValueError: what can be no JSON, or no text
        print(f"consent: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
