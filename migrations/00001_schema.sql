-- +goose Up
create schema if not exists event_runtime;

grant usage on schema event_runtime to runtime_producer, runtime_worker, runtime_maintenance, runtime_relay, runtime_readonly;

-- Nothing in the schema is for everybody.
alter default privileges in schema event_runtime revoke all on tables from public;
alter default privileges in schema event_runtime revoke execute on functions from public;
alter default privileges in schema event_runtime grant select on tables to runtime_readonly;

-- One row. Switches that change how the database itself behaves.
create table event_runtime.settings (
  only_row   boolean primary key default true check (only_row),
  -- The clock guard of append_events reads event_runtime.now instead of the
  -- clock. For tests: a producer could otherwise choose its own time.
  test_clock boolean not null default false,
  -- Everything that waits in a lane is due now, whatever its policy says: before
  -- a machine is taken away, and at the end of a demonstration.
  drain      boolean not null default false
);
insert into event_runtime.settings default values;

-- The day inside a UUIDv7. Arithmetic only: a partition key must not depend on
-- a time zone or a clock.
-- +goose StatementBegin
create function event_runtime.event_day(id uuid) returns date
  language sql immutable strict parallel safe
  return date '1970-01-01' + (('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 86400000)::int;
-- +goose StatementEnd

-- +goose StatementBegin
create function event_runtime.event_time(id uuid) returns timestamptz
  language sql immutable strict parallel safe
  return timestamptz '1970-01-01 00:00:00+00' + (('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint * interval '1 millisecond');
-- +goose StatementEnd

-- For tables that may only grow. The triggers that call it are ENABLE ALWAYS:
-- an ordinary one is skipped under session_replication_role = replica.
-- +goose StatementBegin
create function event_runtime.refuse_change() returns trigger
  language plpgsql as $$
begin
  raise exception '% on %.% is not allowed: its rows are evidence', tg_op, tg_table_schema, tg_table_name
    using errcode = 'restrict_violation',
          hint = 'correct it by a new event or a new submission; see docs/guarantees.md';
end $$;
-- +goose StatementEnd

-- Who we report for.
create table event_runtime.tenants (
  tenant_id   text primary key check (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
  name        text not null,
  state       text not null default 'active' check (state in ('active', 'paused', 'disabled')),
  -- Synthetic tenants are ours (the canary): never submitted.
  synthetic   boolean not null default false,
  created_at  timestamptz not null default clock_timestamp()
);
insert into event_runtime.tenants (tenant_id, name, synthetic) values ('platform', 'event-runtime itself', true);

-- The organisations of a tenant, and the one of them whose credential reports
-- for each: inside a conglomerate any member may report for the others.
create table event_runtime.organisations (
  tenant_id       text not null references event_runtime.tenants,
  ecosystem       text not null check (ecosystem in ('ofb', 'opin')),
  organisation_id uuid not null,
  submitter_id    uuid not null,
  conglomerate    text,
  brand           text,
  primary key (tenant_id, ecosystem, organisation_id),
  foreign key (tenant_id, ecosystem, submitter_id) references event_runtime.organisations (tenant_id, ecosystem, organisation_id)
);

-- Where a submitter's keys are. A reference, never a secret.
create table event_runtime.credential_refs (
  tenant_id       text not null,
  ecosystem       text not null,
  organisation_id uuid not null,
  client_id       text not null check (client_id <> ''),
  certificate_ref text not null check (certificate_ref ~ '^(file|env):.+'),
  key_ref         text not null check (key_ref ~ '^(file|env):.+'),
  primary key (tenant_id, ecosystem, organisation_id),
  foreign key (tenant_id, ecosystem, organisation_id) references event_runtime.organisations
);

-- How a lane flushes. The most specific row wins; api '*' is the tenant's
-- default for the ecosystem.
create table event_runtime.tenant_config (
  tenant_id         text not null references event_runtime.tenants,
  ecosystem         text not null check (ecosystem in ('ofb', 'opin')),
  api               text not null,
  mode              text not null default 'near_real_time' check (mode in ('near_real_time', 'scheduled')),
  max_items         int not null default 1000 check (max_items between 1 and 5000),
  max_bytes         int not null default 8000000 check (max_bytes between 1024 and 10000000),
  max_age           interval not null default '60 seconds' check (max_age > interval '0'),
  windows           text[] not null default '{}',         -- scheduled: 'HH:MM' in UTC
  deadline_lead     interval not null default '2 hours' check (deadline_lead > interval '0'),
  dry_run           boolean not null default false,
  requires_approval boolean not null default false,
  paused            boolean not null default false,
  changed_at        timestamptz not null default clock_timestamp(),
  primary key (tenant_id, ecosystem, api),
  check (mode <> 'scheduled' or cardinality(windows) > 0)
);

-- What a tenant does not report, and why. NULL matches everything.
create table event_runtime.eligibility_rules (
  rule_id    bigint generated always as identity primary key,
  tenant_id  text references event_runtime.tenants,
  ecosystem  text not null,
  endpoint   text,
  method     text,
  reason     text not null check (reason ~ '^[a-z0-9_]{1,40}$'),
  valid_from timestamptz not null default '-infinity',
  valid_to   timestamptz not null default 'infinity'
);

-- A change is live on every replica within a second.
-- +goose StatementBegin
create function event_runtime.notify_config() returns trigger
  language plpgsql as $$
begin
  perform pg_notify('event_runtime_config', tg_table_name);
  return null;
end $$;
-- +goose StatementEnd
create trigger notify_config after update on event_runtime.settings                               for each statement execute function event_runtime.notify_config();
create trigger notify_config after insert or update or delete on event_runtime.tenants           for each statement execute function event_runtime.notify_config();
create trigger notify_config after insert or update or delete on event_runtime.organisations     for each statement execute function event_runtime.notify_config();
create trigger notify_config after insert or update or delete on event_runtime.credential_refs   for each statement execute function event_runtime.notify_config();
create trigger notify_config after insert or update or delete on event_runtime.tenant_config     for each statement execute function event_runtime.notify_config();
create trigger notify_config after insert or update or delete on event_runtime.eligibility_rules for each statement execute function event_runtime.notify_config();

grant select on event_runtime.settings, event_runtime.tenants, event_runtime.organisations, event_runtime.credential_refs,
  event_runtime.tenant_config, event_runtime.eligibility_rules to runtime_worker;

-- Who runs what. The database's clock decides, not the worker's.
create table event_runtime.leases (
  job        text primary key,
  owner      text not null,
  token      bigint not null,
  expires_at timestamptz not null
);
grant select, insert, update on event_runtime.leases to runtime_worker;
