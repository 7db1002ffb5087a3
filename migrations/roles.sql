-- The roles of a cluster. Needs a superuser, once: REPLICATION and BYPASSRLS
-- cannot be given by anybody less. Everything else is done by runtime_owner.
-- Passwords are the operator's business: ALTER ROLE ... PASSWORD.
do $roles$
declare
  wanted record;
begin
  perform pg_advisory_xact_lock(hashtext('event_runtime.roles')); -- two databases of one cluster may migrate at once
  for wanted in
    select * from (values
      ('runtime_owner',       'login'),                       -- owns the schema, runs migrations
      ('runtime_producer',    'login'),                       -- may append events, nothing else
      ('runtime_worker',      'login'),                       -- consumers, flushers, submission
      ('runtime_maintenance', 'login'),                       -- partitions
      ('runtime_relay',       'login replication bypassrls'), -- reads the slot; bypassrls: a backfill under row security would be silently empty
      ('runtime_readonly',    'login')                        -- verify, dashboards
    ) as r(name, attributes)
  loop
    if not exists (select from pg_roles where rolname = wanted.name) then
      execute format('create role %I %s', wanted.name, wanted.attributes);
    end if;
  end loop;
end $roles$;
