-- +goose Up

-- Days whose books were closed. A day that is not here was never closed; one
-- without closed_at was opened again by an event that came after all.
create table event_runtime.days (
  day       date primary key,
  closed_at timestamptz,
  closings  int not null default 1
);

-- Of a day that had been closed: such events go into batches of their own.
alter table event_runtime.lane_chunks add column correction boolean not null default false;

grant select, insert, update on event_runtime.days to runtime_worker;
