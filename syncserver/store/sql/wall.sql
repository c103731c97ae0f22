-- Connections: under which role the server works, and which tenants a transaction names.

-- name: name_tenants
SELECT set_config('fieldsync.tenants', $1, true)

-- name: who_am_i
SELECT m.rolsuper OR m.rolbypassrls AS bypasses,
       EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldsync_app') AS has_app_role
FROM pg_roles AS m
WHERE m.rolname = current_user

-- name: become_app
SET ROLE fieldsync_app

-- name: epoch
SELECT max(epoch) FROM epochs

-- name: arrays
-- Names each array type that the other statements use.
SELECT $1::smallint[], $2::integer[], $3::bigint[], $4::boolean[], $5::bytea[], ARRAY(SELECT ROW(1))
