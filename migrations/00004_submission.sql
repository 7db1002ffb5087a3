-- +goose Up

-- A lane is what is submitted one request at a time. The row is its lease and
-- its breaker; what waits in it are its chunks and its sealed batches.
create table event_runtime.lanes (
  tenant_id       text not null references event_runtime.tenants,
  ecosystem       text not null,
  api             text not null,
  organisation_id uuid not null,
  owner           text,
  token           bigint not null default 0, -- grows with every claim: an old owner's writes find no row
  expires_at      timestamptz not null default '-infinity',
  failures        int not null default 0,    -- consecutive unconfirmed or defect outcomes
  paused_until    timestamptz,
  pause_reason    text,
  not_before      timestamptz,               -- the regulator asked us to wait
  primary key (tenant_id, ecosystem, api, organisation_id)
);

-- The submission state machine. From sealed on, items, bytes and hash never
-- change: every retry sends exactly these.
create table event_runtime.export_batches (
  batch_id        uuid primary key,
  tenant_id       text not null,
  ecosystem       text not null,
  api             text not null,
  organisation_id uuid not null,
  state           text not null check (state in ('sealed', 'awaiting_approval', 'posting', 'submitted', 'partially_accepted', 'rejected', 'submit_unconfirmed', 'written_off')),
  attempt         int not null default 0,
  reason          text not null,  -- why it was due
  code            text,           -- what the last outcome was
  items           int not null check (items > 0),
  event_ids       uuid[] not null,
  item_hashes     bytea not null, -- 32 bytes an item, in order
  merkle_root     bytea not null check (octet_length(merkle_root) = 32),
  body            bytea not null, -- zstd of the exact request body
  body_bytes      int not null,
  body_sha256     bytea not null check (octet_length(body_sha256) = 32),
  deadline        timestamptz not null,
  oldest          timestamptz not null,
  sealed_at       timestamptz not null,
  changed_at      timestamptz not null,
  not_before      timestamptz,
  -- The marker, committed before the request leaves.
  owner           text,
  token           bigint,
  posted_at       timestamptz,
  first_posted_at timestamptz,
  post_by         timestamptz,
  system_id       text,
  timeline        int,
  lsn             pg_lsn,
  -- Asking about a batch whose answer was lost.
  ask_at          timestamptz,
  ask_probe       int not null default 0,
  needs_person    boolean not null default false,
  -- Which batch took an item over. NULL: the item is still this batch's.
  parent_id       uuid references event_runtime.export_batches,
  superseded_by   uuid[],
  check (cardinality(event_ids) = items and octet_length(item_hashes) = 32 * items),
  check (superseded_by is null or cardinality(superseded_by) = items),
  check ((state = 'posting') <= (post_by is not null and owner is not null and token is not null))
);
create index export_batches_open on event_runtime.export_batches (tenant_id, ecosystem, api, organisation_id, deadline)
  where state in ('sealed', 'posting', 'awaiting_approval');
create index export_batches_ask on event_runtime.export_batches (ask_at) where ask_at is not null;
-- A control for asking: a report that was accepted after some moment.
create index export_batches_control on event_runtime.export_batches (ecosystem, posted_at) where state in ('submitted', 'partially_accepted');
create index export_batches_parent on event_runtime.export_batches (parent_id) where parent_id is not null;

-- What is frozen stays frozen, whoever asks.
-- +goose StatementBegin
create function event_runtime.refuse_thaw() returns trigger
  language plpgsql as $$
begin
  raise exception 'batch % is sealed: its items, bytes and hashes cannot change', old.batch_id using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger refuse_thaw before update on event_runtime.export_batches for each row
  when ((old.batch_id, old.tenant_id, old.ecosystem, old.api, old.organisation_id, old.items, old.event_ids, old.item_hashes, old.merkle_root,
         old.body, old.body_bytes, old.body_sha256, old.sealed_at, old.parent_id)
        is distinct from
        (new.batch_id, new.tenant_id, new.ecosystem, new.api, new.organisation_id, new.items, new.event_ids, new.item_hashes, new.merkle_root,
         new.body, new.body_bytes, new.body_sha256, new.sealed_at, new.parent_id))
  execute function event_runtime.refuse_thaw();
create trigger refuse_delete before delete on event_runtime.export_batches for each row execute function event_runtime.refuse_change();
alter table event_runtime.export_batches enable always trigger refuse_thaw;
alter table event_runtime.export_batches enable always trigger refuse_delete;

-- One row per request that left, or may have left. Written with its outcome: a
-- process that died in between leaves the marker, and whoever finds the batch
-- writes the row for it.
create table event_runtime.submission_attempts (
  batch_id    uuid not null references event_runtime.export_batches,
  attempt     int not null check (attempt > 0),
  outcome     text not null check (outcome in ('never_sent', 'refused', 'receipts', 'unknown')),
  code        text not null,
  http_status int,
  posted_at   timestamptz not null,
  ended_at    timestamptz not null,
  server_date timestamptz,  -- the Date header: how far the regulator's clock is from ours
  raw         bytea,        -- zstd of the answer's body as received
  raw_bytes   int,
  raw_sha256  bytea,
  detail      text,
  -- The answer came after the batch had been given up as unconfirmed.
  late        boolean not null default false,
  primary key (batch_id, attempt, late)
);

-- One row per item asked about. A probe is one round of asking about a batch.
create table event_runtime.submission_inquiries (
  batch_id    uuid not null references event_runtime.export_batches,
  attempt     int not null,
  probe       int not null check (probe > 0),
  position    int not null check (position >= -1), -- -1: the control
  event_id    uuid not null,
  asked_at    timestamptz not null,
  http_status int,
  answer      text not null check (answer in ('hit', 'absent', 'nothing')),
  raw         bytea,
  raw_sha256  bytea,
  primary key (batch_id, attempt, probe, position)
);

-- The only evidence: one narrow row per item and answer. A report id exists
-- nowhere else, and no row exists without the stored answer it was read from.
create table event_runtime.submission_receipts (
  received_on date not null,
  batch_id    uuid not null,
  attempt     int not null,
  position    int not null check (position >= 0),
  probe       int not null default 0, -- 0: from the response; otherwise the inquiry that found it
  tenant_id   text not null,
  event_id    uuid not null,
  source      text not null check (source in ('response', 'lookup')),
  status      text not null,
  accepted    boolean not null,
  side        text not null default 'ours' check (side in ('ours', 'unknown')), -- unknown: the counterparty's report cannot be told from ours
  report_id   uuid,
  paired_id   uuid,
  message     text,
  received_at timestamptz not null,
  late        boolean not null default false,
  primary key (batch_id, position, attempt, probe, received_on),
  foreign key (batch_id, attempt, late) references event_runtime.submission_attempts,
  check ((source = 'response') = (probe = 0)),
  check (not accepted or report_id is not null)
) partition by range (received_on);
create index submission_receipts_event on event_runtime.submission_receipts (event_id);
create index submission_receipts_report on event_runtime.submission_receipts (report_id);
insert into event_runtime.partitioned_tables values ('submission_receipts', false, true);

-- +goose StatementBegin
do $$
declare
  name text;
begin
  foreach name in array array['submission_attempts', 'submission_inquiries', 'submission_receipts'] loop
    execute format('create trigger refuse_change before update or delete on event_runtime.%I for each row execute function event_runtime.refuse_change()', name);
    execute format('create trigger refuse_truncate before truncate on event_runtime.%I for each statement execute function event_runtime.refuse_change()', name);
    execute format('alter table event_runtime.%I enable always trigger refuse_change', name);
    execute format('alter table event_runtime.%I enable always trigger refuse_truncate', name);
  end loop;
end $$;
-- +goose StatementEnd

grant select, insert, update on event_runtime.lanes, event_runtime.export_batches to runtime_worker;
grant select, insert on event_runtime.submission_attempts, event_runtime.submission_inquiries, event_runtime.submission_receipts to runtime_worker;
