// Moves a consent to another state and appends the event that says so, in one
// transaction: both are there, or neither.
//
//   echo '{"consentId": "c-1", "state": "AUTHORISED"}' | node consent.js
//
// DATABASE_URL (as runtime_producer) and TENANT_ID come from the environment.

import { readFileSync } from "fs";
import { Client } from "pg";
import { AlreadyAppended, appendEvent, newEventId } from "./event-runtime";

interface Change {
  consentId: string;
  state: string;
  eventId?: string; // when the change has one already, as a repeated request does
}

async function advance(client: Client, change: Change, eventId: string): Promise<void> {
  await client.query("BEGIN");
  const before = await client.query("SELECT state FROM bank.consents WHERE consent_id = $1 FOR UPDATE", [change.consentId]);
  const after = await client.query(
    `INSERT INTO bank.consents AS c (consent_id, state) VALUES ($1, $2)
     ON CONFLICT (consent_id) DO UPDATE SET state = excluded.state, version = c.version + 1 RETURNING version`,
    [change.consentId, change.state],
  );
  await appendEvent(client, {
    id: eventId,
    tenantId: process.env.TENANT_ID ?? "",
    ecosystem: "ofb",
    type: "consent.advanced",
    payload: { state: change.state, previousState: before.rows[0]?.state },
    aggregateType: "consent",
    aggregateId: change.consentId,
    aggregateVersion: after.rows[0].version,
    source: "consents-api",
  });
  await client.query("COMMIT");
}

// mayPass tells a connection that broke, and a database that restarts, from what
// would be answered in the same way again.
function mayPass(err: { code?: string; message: string }): boolean {
  return /^(08|40|53|57P|E)/.test(err.code ?? "") || err.message.startsWith("Connection terminated");
}

// commit tries again with the same event, as often as that can help. A try whose
// answer was lost may have been committed: the next one finds its event there,
// and takes back what it did.
async function commit(change: Change): Promise<string> {
  const eventId = change.eventId ?? newEventId();
  for (let tries = 1; ; tries++) {
    const client = new Client({ connectionString: process.env.DATABASE_URL });
    client.on("error", () => {}); // the query under way says it
    try {
      await client.connect();
      await advance(client, change, eventId);
      return eventId;
    } catch (err) {
      if (err instanceof AlreadyAppended) return eventId;
      if (tries === 5 || !mayPass(err as Error)) throw err;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** tries));
    } finally {
      // Without a COMMIT before it, this rolls back. Nobody waits: of a connection
      // that broke, end() never tells.
      client.end().catch(() => {});
    }
  }
}

commit(JSON.parse(readFileSync(0, "utf8"))).then(
  (eventId) => console.log(JSON.stringify({ eventId })),
  (err: Error) => {
    console.error(`consent: ${err.message}`);
    process.exitCode = 1;
  },
);
