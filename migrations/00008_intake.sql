-- +goose Up

-- Who may post events for a tenant: where its tokens are, never a token. A
-- tenant has two of them while it rotates; a reference is of one tenant only.
create table event_runtime.api_tokens (
  token_ref text primary key check (token_ref ~ '^(file|env):.+'),
  tenant_id text not null references event_runtime.tenants
);
create trigger notify_config after insert or update or delete on event_runtime.api_tokens for each statement execute function event_runtime.notify_config();
-- The worker reads it; producers must not learn where tokens are.
grant select on event_runtime.api_tokens to runtime_worker;

-- What was answered to a request with an Idempotency-Key. The row is committed
-- with what the request did, so there is none for one that did nothing. The key
-- is a hash: whoever made it may have put anything into it.
create table event_runtime.idempotency_keys (
  tenant_id   text not null,
  route       text not null check (route <> ''),
  key_sha256  bytea not null check (octet_length(key_sha256) = 32),
  body_sha256 bytea not null check (octet_length(body_sha256) = 32),
  status      int not null check (status between 200 and 299),
  answer      text not null check (octet_length(answer) <= 1048576),
  expires_at  timestamptz not null,
  primary key (tenant_id, route, key_sha256)
);
create index idempotency_keys_expiry on event_runtime.idempotency_keys (expires_at);

-- Says how a key stands and, unless it is 'running', holds it until the caller's
-- transaction ends. The lock dies with its connection, so a crash leaves no key
-- that runs for ever.
--   new         nobody used it within 24 hours: do the work, then keep_answer
--   running     another transaction holds it
--   other_body  it was used with another body
--   stored      it was used with this body: status and answer are what was said
-- A read in the function sees what the last holder committed: it begins after
-- the lock was had.
-- +goose StatementBegin
create function event_runtime.hold_key(tenant text, on_route text, key_hash bytea, body_hash bytea, out verdict text, out status int, out answer text)
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
declare
  known idempotency_keys%rowtype;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('event_runtime.hold_key:' || tenant || ':' || on_route || ':' || encode(key_hash, 'hex'), 0)) then
    verdict := 'running';
    return;
  end if;
  select * into known from idempotency_keys k
   where k.tenant_id = tenant and k.route = on_route and k.key_sha256 = key_hash and k.expires_at > clock_timestamp();
  if not found then
    verdict := 'new';
  elsif known.body_sha256 <> body_hash then
    verdict := 'other_body';
  else
    verdict := 'stored';
    status := known.status;
    answer := known.answer;
  end if;
end $$;
-- +goose StatementEnd

-- Stores what will be answered, for 24 hours. It takes some expired rows away
-- each time, so the table needs nobody who cleans it.
-- +goose StatementBegin
create function event_runtime.keep_answer(tenant text, on_route text, key_hash bytea, body_hash bytea, with_status int, with_answer text) returns void
  language plpgsql security definer set search_path = event_runtime, pg_temp as $$
begin
  insert into idempotency_keys as k (tenant_id, route, key_sha256, body_sha256, status, answer, expires_at)
  values (tenant, on_route, key_hash, body_hash, with_status, with_answer, clock_timestamp() + interval '24 hours')
  on conflict (tenant_id, route, key_sha256) do update
     set body_sha256 = excluded.body_sha256, status = excluded.status, answer = excluded.answer, expires_at = excluded.expires_at
   where k.expires_at <= clock_timestamp();
  if not found then
    raise exception 'the key is in use' using errcode = 'unique_violation', constraint = 'idempotency_keys_pkey';
  end if;
  -- After the insert, and waiting for nobody: two that clean up cannot wait for each other.
  delete from idempotency_keys k
   where k.ctid = any (array(select o.ctid from idempotency_keys o where o.expires_at <= clock_timestamp() order by o.expires_at limit 20 for update skip locked));
end $$;
-- +goose StatementEnd
revoke execute on function event_runtime.hold_key(text, text, bytea, bytea), event_runtime.keep_answer(text, text, bytea, bytea, int, text) from public;
grant execute on function event_runtime.hold_key(text, text, bytea, bytea), event_runtime.keep_answer(text, text, bytea, bytea, int, text) to runtime_producer;
