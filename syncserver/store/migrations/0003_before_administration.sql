-- Administration: people who leave, sign-in at the company's own issuer, the keys of cursors, the audit log.

-- Somebody who left: nothing stands for them any more, and their name still explains what they did.
ALTER TABLE persons ADD COLUMN removed_at timestamptz;

-- Which key sealed the cursor that a device was last given; nothing is known of older rows.
ALTER TABLE positions ADD COLUMN sealed_by text COLLATE "C";

-- A session is a token that a sign-in gave.
ALTER TABLE tokens DROP CONSTRAINT tokens_kind_check;
ALTER TABLE tokens ADD CONSTRAINT tokens_kind_check CHECK (kind IN ('access', 'refresh', 'session'));

-- Where the people of a tenant sign in. `secret` is sealed with one of the secret keys; `config` is JSON.
CREATE TABLE signins (
  tenant_id  integer     NOT NULL,
  issuer     text        NOT NULL,
  client_id  text        NOT NULL,
  secret     bytea       NOT NULL,
  config     text        NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id),
  FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id)
);

-- What people and programs did to the service itself. Rows are added and never changed. Ids are ordered by time
-- (UUID version 7), so that a tenant can be moved to another database without two rows of one id.
CREATE TABLE audit (
  tenant_id integer     NOT NULL,
  entry_id  uuid        NOT NULL,
  at        timestamptz NOT NULL DEFAULT now(),
  person    text        COLLATE "C",
  system    text        COLLATE "C",
  action    text        COLLATE "C" NOT NULL,
  object    text        NOT NULL,
  outcome   text        COLLATE "C" NOT NULL,
  request   text        COLLATE "C",
  PRIMARY KEY (tenant_id, entry_id),
  FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
  CHECK ((person IS NULL) <> (system IS NULL))
);

ALTER TABLE signins ENABLE ROW LEVEL SECURITY;
ALTER TABLE signins FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_named ON signins
  USING ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE);

-- There is no policy, and no right, by which a row of the audit log could be changed or taken away: the owner gives
-- up those rights too, and app_role.sql does not grant them.
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_shown ON audit FOR SELECT
  USING ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE);
CREATE POLICY tenants_added ON audit FOR INSERT
  WITH CHECK ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE);
DO $$
BEGIN
  EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM %I', current_user);
END
$$;
