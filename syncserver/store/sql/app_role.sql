-- The role under which the server works: row-level security binds it, as it binds no superuser.
-- Run after each migration, so that a database restored into another cluster gets it again.
-- A user who may not make roles goes without: tables force row-level security on their owner too.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldsync_app') THEN
    CREATE ROLE fieldsync_app NOLOGIN NOINHERIT;
  END IF;
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT fieldsync_app TO %I', current_user);
  END IF;
EXCEPTION
  -- Another database of this cluster may be migrated at the same moment.
  WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fieldsync_app') THEN
    GRANT USAGE ON SCHEMA public TO fieldsync_app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO fieldsync_app;
    REVOKE INSERT, UPDATE, DELETE ON epochs, migrations FROM fieldsync_app;
    REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM fieldsync_app;
  END IF;
END
$$;
