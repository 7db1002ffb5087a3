-- +goose Up

-- Which consumer owes a row for which outbox rows, and from when on. An outbox
-- row is owed when the ecosystem matches, its event_type starts with
-- family || '.', and its event_id is at or after since.
create table event_runtime.entitlements (
  consumer  text not null,
  ecosystem text not null,
  family    text not null,
  since     uuid not null, -- set when the consumer is first provisioned
  primary key (consumer, ecosystem, family)
);

-- One row per consumer and event: the dedup, and one side of the books.
-- payload_hash is over the business columns in RFC 8785 form, never over bytes:
-- relays spell numbers differently.
create table event_runtime.consumer_idempotency (
  tenant_id       text not null,
  recorded_on     date not null,
  event_id        uuid not null,
  consumer        text not null,
  outcome         text not null check (outcome ~ '^(accepted|canary|no_subscription|ineligible:[a-z0-9_]+)$'),
  payload_hash    bytea not null check (octet_length(payload_hash) = 32),
  api             text,
  -- The report key: what the regulator tells two reports apart by.
  interaction_id  uuid,
  organisation_id uuid,
  role            text check (role in ('CLIENT', 'SERVER')),
  recorded_at     timestamptz not null default clock_timestamp(),
  primary key (tenant_id, recorded_on, event_id, consumer),
  -- NULLs are distinct: only rows with a report key meet here.
  constraint consumer_idempotency_report_key unique (interaction_id, role, organisation_id, tenant_id, recorded_on)
) partition by range (recorded_on);
insert into event_runtime.partitioned_tables values ('consumer_idempotency', true, false);

-- What one persist transaction gave to one lane. A chunk that exists is open;
-- sealing deletes it in the transaction that makes the batch, and puts back the
-- rest of a chunk that was too large.
create table event_runtime.lane_chunks (
  chunk_id        bigint generated always as identity primary key,
  tenant_id       text not null,
  ecosystem       text not null,
  api             text not null,
  organisation_id uuid not null, -- the submitter: a batch has one token
  event_ids       uuid[] not null check (cardinality(event_ids) > 0),
  items           int not null check (items = cardinality(event_ids)),
  bytes           bigint not null,
  oldest          timestamptz not null, -- when the first of them was persisted
  deadline        timestamptz not null, -- the earliest of theirs
  created_at      timestamptz not null default clock_timestamp()
);
create index lane_chunks_lane on event_runtime.lane_chunks (tenant_id, ecosystem, api, organisation_id, deadline, chunk_id)
  include (items, bytes, oldest);

-- What a person must look at. Holds no payload: ids, hash, size, and where it is wrong.
create table event_runtime.quarantine (
  quarantine_id  bigint generated always as identity primary key,
  stage          text not null check (stage in ('ingest', 'submit')),
  consumer       text not null,
  -- The same thing quarantined again is the same row: for an event that can be
  -- told its tenant and id, otherwise the hash of the message.
  dedup_key      text not null,
  tenant_id      text,
  recorded_on    date,
  event_id       uuid,
  reason         text not null check (reason ~ '^[a-z0-9_]{1,40}$'),
  detail         text, -- field path, position, code; never a value
  subject        text,
  payload_sha256 bytea,
  payload_bytes  int,
  stream         text,
  stream_seq     bigint,
  batch_id       uuid,
  created_at     timestamptz not null default clock_timestamp(),
  published_at   timestamptz, -- the copy in stream DLQ was acknowledged
  resolved_at    timestamptz,
  resolution     text check (resolution in ('requeued', 'discarded')),
  check ((resolved_at is null) = (resolution is null)),
  unique (stage, consumer, dedup_key)
);
create index quarantine_event on event_runtime.quarantine (event_id) where event_id is not null;
create index quarantine_unpublished on event_runtime.quarantine (quarantine_id) where published_at is null;

-- The same id with another payload. Nobody can say which one is true.
create table event_runtime.event_conflicts (
  conflict_id bigint generated always as identity primary key,
  consumer    text not null,
  tenant_id   text not null,
  recorded_on date not null,
  event_id    uuid not null,
  first_hash  bytea not null,
  other_hash  bytea not null,
  subject     text not null,
  stream      text,
  stream_seq  bigint,
  seen_at     timestamptz not null default clock_timestamp(),
  unique (consumer, tenant_id, event_id, other_hash)
);

-- Running counts, written in the transaction they count. verify recounts.
create table event_runtime.books (
  day         date not null,
  tenant_id   text not null,
  consumer    text not null,
  accepted    bigint not null default 0,
  ineligible  bigint not null default 0,
  canary      bigint not null default 0,
  quarantined bigint not null default 0,
  duplicates  bigint not null default 0,
  conflicts   bigint not null default 0,
  primary key (day, tenant_id, consumer)
);

grant select, insert on event_runtime.entitlements to runtime_worker;
grant select, insert on event_runtime.consumer_idempotency to runtime_worker;
grant select, insert, update, delete on event_runtime.lane_chunks to runtime_worker;
grant select, insert, update on event_runtime.quarantine to runtime_worker;
grant select, insert on event_runtime.event_conflicts to runtime_worker;
grant select, insert, update on event_runtime.books to runtime_worker;
-- The relay sets aside what it can never publish.
grant select, insert on event_runtime.quarantine to runtime_relay;
