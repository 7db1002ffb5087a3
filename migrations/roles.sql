-- The roles of a cluster. Needs a superuser, once: REPLICATION and BYPASSRLS
-- cannot be given by anybody less. Everything else is done by runtime_owner.
-- Passwords are the operator's business: ALTER ROLE ... PASSWORD.
do $roles$
declare
  wanted record;
begin
  -- Two databases of one cluster may migrate at once, and advisory locks are
  -- per database: the table of roles is not.
  lock table pg_catalog.pg_authid in share row exclusive mode;
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
  -- A producer that left its transaction open would hold the slot back, and
  -- with it all WAL. What an operator has set stays.
  for wanted in
    select * from (values
      ('idle_in_transaction_session_timeout', '60s', 90600),
      ('transaction_timeout', '5min', 170000)
    ) as s(name, value, since)
     where since <= current_setting('server_version_num')::int
       and not exists (select from pg_db_role_setting d, unnest(d.setconfig) c
                        where d.setrole = 'runtime_producer'::regrole and d.setdatabase = 0 and starts_with(c, s.name || '='))
  loop
    execute format('alter role runtime_producer set %I = %L', wanted.name, wanted.value);
  end loop;
end $roles$;
