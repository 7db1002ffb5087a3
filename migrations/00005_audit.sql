-- +goose Up

-- The ledger of changes: one gapless, hash-chained sequence per tenant, and one
-- called platform. Written in the transaction of the change it records.
create table event_runtime.audit_ledger (
  chain_id       text not null,
  seq            bigint not null check (seq > 0),
  ts             timestamptz not null,
  actor          text not null,
  action         text not null check (action ~ '^[a-z0-9_]+([.][a-z0-9_]+)*$'),
  subject        text not null,
  payload_bytes  bytea not null, -- RFC 8785 form; hashed as stored
  payload_sha256 bytea not null check (octet_length(payload_sha256) = 32),
  prev_hash      bytea not null check (octet_length(prev_hash) = 32),
  hash           bytea not null check (octet_length(hash) = 32),
  primary key (chain_id, seq)
);
create trigger refuse_change before update or delete on event_runtime.audit_ledger for each row execute function event_runtime.refuse_change();
create trigger refuse_truncate before truncate on event_runtime.audit_ledger for each statement execute function event_runtime.refuse_change();
alter table event_runtime.audit_ledger enable always trigger refuse_change;
alter table event_runtime.audit_ledger enable always trigger refuse_truncate;

grant select, insert on event_runtime.audit_ledger to runtime_worker, runtime_maintenance;
