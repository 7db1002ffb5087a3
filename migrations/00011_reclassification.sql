-- +goose Up

-- Events that were set aside as not reportable and have become reportable since:
-- the catalogue lists their endpoint now, or the API is reported to. The consumer
-- row stays what it was; this one says what holds instead. Not partitioned: each
-- hand of a consumer asks it about report keys, in one look instead of one a day.
create table event_runtime.reclassifications (
  tenant_id       text not null,
  recorded_on     date not null,
  event_id        uuid not null,
  consumer        text not null,
  was             text not null check (was in ('ineligible:unlisted_endpoint', 'ineligible:api_not_enabled')),
  outcome         text not null check (outcome = 'accepted'),
  edition         bytea not null check (octet_length(edition) = 32), -- of catalogue, APIs and rules
  api             text, -- NULL, like the report key: it went before a person
  interaction_id  uuid,
  organisation_id uuid,
  role            text check (role in ('CLIENT', 'SERVER')),
  reclassified_at timestamptz not null,
  primary key (recorded_on, tenant_id, event_id, consumer)
);
create index reclassifications_report_key on event_runtime.reclassifications (interaction_id, role, organisation_id, tenant_id) where interaction_id is not null;

create trigger refuse_change before update or delete on event_runtime.reclassifications
  for each row execute function event_runtime.refuse_change();
create trigger refuse_truncate before truncate on event_runtime.reclassifications
  for each statement execute function event_runtime.refuse_change();
alter table event_runtime.reclassifications enable always trigger refuse_change;
alter table event_runtime.reclassifications enable always trigger refuse_truncate;

-- What is looked through when the catalogue grows. A reported event costs it nothing.
create index consumer_idempotency_set_aside on event_runtime.consumer_idempotency (consumer, tenant_id, event_id)
  where outcome in ('ineligible:unlisted_endpoint', 'ineligible:api_not_enabled');

-- What became of each event at each consumer, all told.
create view event_runtime.consumer_outcomes with (security_invoker = true) as
select k.tenant_id, k.recorded_on, k.event_id, k.consumer, coalesce(r.outcome, k.outcome) as outcome, coalesce(r.api, k.api) as api,
       coalesce(r.interaction_id, k.interaction_id) as interaction_id, coalesce(r.organisation_id, k.organisation_id) as organisation_id,
       coalesce(r.role, k.role) as role, r.event_id is not null as reclassified
  from event_runtime.consumer_idempotency k
  left join event_runtime.reclassifications r
    on r.recorded_on = k.recorded_on and r.tenant_id = k.tenant_id and r.event_id = k.event_id and r.consumer = k.consumer;

-- How far each consumer's events have been looked through under which edition.
create table event_runtime.reclassify_marks (
  consumer  text primary key,
  edition   bytea not null check (octet_length(edition) = 32),
  round     int not null check (round in (1, 2)), -- the second finds what others decided under the edition before
  done_at   timestamptz,                          -- NULL: the round is under way
  day       date not null,                        -- and has come to here
  tenant_id text not null default '',
  event_id  uuid not null default '00000000-0000-0000-0000-000000000000',
  looked    bigint not null default 0,            -- in this round
  accepted  bigint not null default 0,
  set_aside bigint not null default 0,
  too_old   bigint not null default 0
);

-- What waits for an answer or for a person is counted every few seconds.
create index export_batches_in_doubt on event_runtime.export_batches (ecosystem, api) where state = 'submit_unconfirmed';

grant select, insert on event_runtime.reclassifications to runtime_worker;
grant select, insert, update on event_runtime.reclassify_marks to runtime_worker;
grant select on event_runtime.consumer_outcomes to runtime_worker;
