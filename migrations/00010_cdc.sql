-- +goose Up

-- What was last known of the slot that change data capture reads from: without
-- it nobody could tell a slot that was made anew from the one that was lost.
create table event_runtime.cdc_slots (
  slot_name     text primary key,
  system_id     text        not null, -- of the server it was seen on
  timeline      int         not null,
  confirmed_lsn pg_lsn      not null,
  reach_lsn     pg_lsn,               -- the built-in relay confirms nothing behind it without moving it first; null: another relay
  seen_at       timestamptz not null, -- alive
  clean_until   timestamptz,          -- where the sweeper was then
  swept_since   date,                 -- how much it had published then,
  swept_rows    bigint                -- of the events of these days
);

-- Each time that log was lost before it was read, or may have been.
create table event_runtime.cdc_losses (
  loss_id        bigint generated always as identity primary key,
  slot_name      text        not null references event_runtime.cdc_slots,
  cause          text        not null check (cause in ('missing', 'invalidated', 'replaced', 'survived')),
  promoted       boolean     not null, -- the server's history is another one since
  found_by       text        not null check (found_by in ('relay', 'leader')),
  found_at       timestamptz not null,
  last_system_id text        not null,
  last_timeline  int         not null,
  last_lsn       pg_lsn      not null,
  last_seen_at   timestamptz not null,
  clean_until    timestamptz,
  swept_since    date,
  swept_rows     bigint,
  recreated_at   timestamptz,          -- a slot is there again: what was committed before is the sweeper's
  start_lsn      pg_lsn,
  ended_at       timestamptz,          -- the sweep has come to its end
  gap_rows       bigint,
  ghosts         bigint,
  check (ended_at is null or recreated_at is not null)
);
-- Relay and leader may find the same loss at the same time.
create unique index cdc_losses_open on event_runtime.cdc_losses (slot_name) where recreated_at is null;

grant select, insert, update on event_runtime.cdc_slots, event_runtime.cdc_losses to runtime_relay, runtime_worker;
