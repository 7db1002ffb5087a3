-- +goose Up

-- Where each durable consumer is: of the events before swept_until it has all
-- rows, or what is missing is remembered in sweep_owed.
create table event_runtime.sweep_marks (
  consumer    text not null,
  stream      text not null,
  swept_until timestamptz not null,
  whole_at    timestamptz, -- when whole days were last looked through to the end
  primary key (consumer, stream)
);

-- Where the log and the transactions were at a time: says what the relay must
-- have published, and which transactions had ended.
create table event_runtime.sweep_samples (
  taken_at    timestamptz primary key,
  lsn         pg_lsn  not null, -- everything that was committed before taken_at is before it
  next_xid    xid8    not null, -- every transaction that wrote before taken_at is before it
  oldest_xid  xid8    not null, -- every transaction before it had ended
  slot_active boolean not null
);

-- Events without a row at a consumer that owes one, until it is there.
create table event_runtime.sweep_owed (
  consumer     text not null,
  stream       text not null,
  tenant_id    text not null,
  recorded_on  date not null,
  event_id     uuid not null,
  recorded_at  timestamptz not null, -- of the outbox row
  found_at     timestamptz not null,
  published_at timestamptz,          -- by the sweeper, last
  published    int not null default 0,
  primary key (consumer, stream, tenant_id, recorded_on, event_id)
);

-- How often the sweeper had to publish an event of this page.
alter table event_runtime.books add column swept bigint not null default 0;

-- The one event that a worker may append: a heartbeat of the reserved tenant. Not
-- while everything is made to come to rest.
-- +goose StatementBegin
create function event_runtime.append_canary(new_id uuid, of_ecosystem text, sent_at timestamptz) returns boolean
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
begin
  if (select drain from settings) then
    return false;
  end if;
  perform append_event('platform', of_ecosystem, 'interaction.canary',
    jsonb_build_object('sentAt', to_char(sent_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
    occurred_at => sent_at, event_id => new_id, source => 'event-runtime');
  return true;
end $$;
-- +goose StatementEnd

grant select, insert, update on event_runtime.sweep_marks to runtime_worker;
grant select, insert, delete on event_runtime.sweep_samples to runtime_worker;
grant select, insert, update, delete on event_runtime.sweep_owed to runtime_worker;
grant execute on function event_runtime.append_canary(uuid, text, timestamptz) to runtime_worker;
