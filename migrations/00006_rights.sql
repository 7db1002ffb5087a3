-- +goose Up

-- What every function is given at birth can only be taken away for all schemas
-- at once: default privileges of one schema add, and never take.
alter default privileges revoke execute on functions from public;
revoke execute on all functions in schema event_runtime from public;
