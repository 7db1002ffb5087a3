-- +goose Up

-- Which days exist, and over how many leaves each is spread by tenant.
create table event_runtime.partition_days (
  parent     text not null,
  day        date not null,
  modulus    int  not null check (modulus between 0 and 64), -- 0: the day is one table
  created_at timestamptz not null default clock_timestamp(),
  primary key (parent, day)
);
alter table event_runtime.settings add column hash_modulus int not null default 4 check (hash_modulus between 1 and 64);

-- The authority: an event that is here is never lost, wherever it is missing.
-- The CHECKs are part of the wire contract (sequin/): readers build NATS
-- subjects and headers from these columns.
-- recorded_on is the day inside event_id, so one id can only ever be one row.
create table event_runtime.outbox (
  tenant_id         text        not null check (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
  recorded_on       date        not null,
  event_id          uuid        not null,
  ecosystem         text        not null check (ecosystem in ('ofb', 'opin', 'platform')),
  event_type        text        not null check (length(event_type) <= 100 and event_type ~ '^[a-z0-9_-]+([.][a-z0-9_-]+)*$'),
  version           int         not null,
  occurred_at       timestamptz not null,
  recorded_at       timestamptz not null default clock_timestamp(),
  aggregate_type    text,
  aggregate_id      text,
  aggregate_version bigint,
  idempotency_key   text,
  correlation_id    text,
  traceparent       text        check (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
  source            text,
  subject           jsonb,
  payload           jsonb       not null check (octet_length(payload::text) <= 262144),
  primary key (tenant_id, recorded_on, event_id),
  constraint outbox_day_of_id check (recorded_on = event_runtime.event_day(event_id) and substr(event_id::text, 15, 1) = '7'),
  -- Years of five digits and BC do not survive the way through JSON.
  constraint outbox_plain_years check (occurred_at >= '0001-01-01 00:00:00+00' and occurred_at < '10000-01-01 00:00:00+00')
) partition by range (recorded_on);

create trigger refuse_change before update or delete on event_runtime.outbox
  for each row execute function event_runtime.refuse_change();
create trigger refuse_truncate before truncate on event_runtime.outbox
  for each statement execute function event_runtime.refuse_change();
alter table event_runtime.outbox enable always trigger refuse_change;
alter table event_runtime.outbox enable always trigger refuse_truncate;

-- Tables that are partitioned by day, and how. Later migrations add theirs.
create table event_runtime.partitioned_tables (
  parent      text primary key,
  hashed      boolean not null, -- each day spread by hash(tenant_id)
  append_only boolean not null  -- leaves refuse TRUNCATE too: a statement trigger is not cloned to them
);
insert into event_runtime.partitioned_tables values ('outbox', true, true);

-- Makes one day of one table. LIKE and ATTACH, because CREATE ... PARTITION OF
-- would lock the parent against every producer. A day keeps the modulus it was
-- made with.
-- +goose StatementBegin
create function event_runtime.make_day(parent_table text, new_day date) returns void
  language plpgsql set search_path = event_runtime, pg_temp as $$
declare
  how      partitioned_tables%rowtype;
  leaves   int := 0;
  day_name text := parent_table || '_' || to_char(new_day, 'YYYYMMDD');
  leaf     text;
begin
  select * into strict how from partitioned_tables p where p.parent = parent_table;
  insert into partition_days (parent, day, modulus)
    select parent_table, new_day, case when how.hashed then hash_modulus else 0 end from settings
    on conflict do nothing returning modulus into leaves;
  if not found then
    return;
  end if;
  if leaves = 0 then
    execute format('create table %I (like %I including defaults including constraints)', day_name, parent_table);
  else
    execute format('create table %I (like %I including defaults including constraints) partition by hash (tenant_id)', day_name, parent_table);
    for remainder in 0 .. leaves - 1 loop
      execute format('create table %I partition of %I for values with (modulus %s, remainder %s)', day_name || '_' || remainder, day_name, leaves, remainder);
    end loop;
  end if;
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent_table, day_name, new_day, new_day + 1);
  if how.append_only then
    foreach leaf in array case when leaves = 0 then array[day_name]
                               else array(select day_name || '_' || r from generate_series(0, leaves - 1) r) end loop
      execute format('create trigger refuse_truncate before truncate on %I for each statement execute function refuse_change()', leaf);
      execute format('alter table %I enable always trigger refuse_truncate', leaf);
    end loop;
  end if;
end $$;
-- +goose StatementEnd

-- Makes every day that is missing from first_day to last_day, and says how many
-- tables it made. Run by migrate and by the leader.
-- +goose StatementBegin
create function event_runtime.ensure_days(first_day date, last_day date) returns int
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
declare
  missing record;
  made    int := 0;
begin
  perform pg_advisory_xact_lock(hashtext('event_runtime.ensure_days'));
  for missing in
    select p.parent, d::date as day
      from partitioned_tables p, generate_series(first_day::timestamp, last_day::timestamp, interval '1 day') d
     where not exists (select from partition_days q where q.parent = p.parent and q.day = d::date)
     order by d, p.parent
  loop
    perform make_day(missing.parent, missing.day);
    made := made + 1;
  end loop;
  return made;
end $$;
-- +goose StatementEnd
revoke execute on function event_runtime.make_day(text, date), event_runtime.ensure_days(date, date) from public;
grant execute on function event_runtime.ensure_days(date, date) to runtime_maintenance;

-- A UUIDv7 of the database's own, for producers that have none.
-- +goose StatementBegin
create function event_runtime.new_event_id(at timestamptz default clock_timestamp()) returns uuid
  language sql volatile parallel safe
  return (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0')
          || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid;
-- +goose StatementEnd

-- The one way into the outbox. Arrays of one length, one element an event. It
-- never says which of several events was wrong by position only: the message
-- names the event_id.
-- The clock guard is here because a CHECK must not read the clock.
-- +goose StatementBegin
create function event_runtime.append_events(
  event_id uuid[], tenant_id text[], ecosystem text[], event_type text[], version int[], occurred_at timestamptz[],
  aggregate_type text[], aggregate_id text[], aggregate_version bigint[], idempotency_key text[], correlation_id text[],
  traceparent text[], source text[], subject text[], payload text[]) returns void
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
declare
  reference timestamptz := clock_timestamp();
  wrong     uuid;
begin
  if (select test_clock from settings) then
    reference := coalesce(nullif(current_setting('event_runtime.now', true), '')::timestamptz, reference);
  end if;
  select id into wrong from unnest(append_events.event_id) id
   where id is null or event_time(id) not between reference - interval '24 hours' and reference + interval '5 minutes' limit 1;
  if found then
    raise exception 'event_id % was not made within the last 24 hours (or is more than 5 minutes ahead of %)', coalesce(wrong::text, 'NULL'), reference
      using errcode = 'check_violation', constraint = 'append_clock_guard',
            hint = 'make the id (UUIDv7) when the event is appended; check the producer''s clock';
  end if;
  insert into outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, aggregate_type, aggregate_id,
                      aggregate_version, idempotency_key, correlation_id, traceparent, source, subject, payload)
  select e.tenant_id, event_day(e.event_id), e.event_id, e.ecosystem, e.event_type, e.version, e.occurred_at, e.aggregate_type, e.aggregate_id,
         e.aggregate_version, e.idempotency_key, e.correlation_id, e.traceparent, e.source, e.subject::jsonb, e.payload::jsonb
    from unnest(append_events.event_id, append_events.tenant_id, append_events.ecosystem, append_events.event_type, append_events.version,
                append_events.occurred_at, append_events.aggregate_type, append_events.aggregate_id, append_events.aggregate_version,
                append_events.idempotency_key, append_events.correlation_id, append_events.traceparent, append_events.source,
                append_events.subject, append_events.payload)
      as e(event_id, tenant_id, ecosystem, event_type, version, occurred_at, aggregate_type, aggregate_id, aggregate_version,
           idempotency_key, correlation_id, traceparent, source, subject, payload);
end $$;
-- +goose StatementEnd

-- One event, from any language, inside the caller's transaction.
-- +goose StatementBegin
create function event_runtime.append_event(
  tenant_id text, ecosystem text, event_type text, payload jsonb, version int default 1, occurred_at timestamptz default null,
  event_id uuid default null, aggregate_type text default null, aggregate_id text default null, aggregate_version bigint default null,
  idempotency_key text default null, correlation_id text default null, traceparent text default null, source text default null,
  subject jsonb default null) returns uuid
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
declare
  id uuid := coalesce(append_event.event_id, new_event_id());
begin
  perform append_events(array[id], array[append_event.tenant_id], array[append_event.ecosystem], array[append_event.event_type],
    array[append_event.version], array[coalesce(append_event.occurred_at, clock_timestamp())], array[append_event.aggregate_type],
    array[append_event.aggregate_id], array[append_event.aggregate_version], array[append_event.idempotency_key],
    array[append_event.correlation_id], array[append_event.traceparent], array[append_event.source],
    array[append_event.subject::text], array[append_event.payload::text]);
  return id;
end $$;
-- +goose StatementEnd
revoke execute on all functions in schema event_runtime from public;
grant execute on function event_runtime.append_events(uuid[], text[], text[], text[], int[], timestamptz[], text[], text[], bigint[], text[], text[], text[], text[], text[], text[]),
  event_runtime.append_event(text, text, text, jsonb, int, timestamptz, uuid, text, text, bigint, text, text, text, text, jsonb) to runtime_producer;
-- The CHECKs of the outbox and what every role computes with.
grant execute on function event_runtime.event_day(uuid), event_runtime.event_time(uuid) to runtime_producer, runtime_worker, runtime_maintenance, runtime_relay, runtime_readonly;

grant select on event_runtime.outbox to runtime_relay, runtime_worker;
grant select on event_runtime.partition_days to runtime_maintenance, runtime_worker;

-- A slot cannot see a publication younger than itself: this comes before any.
-- Insert only: nothing else may happen to the outbox. Via the root: otherwise
-- two-level leaves are dropped downstream without an error.
create publication runtime_outbox_pub for table event_runtime.outbox
  with (publish = 'insert', publish_via_partition_root = true);
