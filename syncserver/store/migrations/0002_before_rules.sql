-- What the rules need to know beside the records: how far a device's own time has come, which mutations
-- wait for a person, and which entries of version vectors nobody needs any more.

-- When a replica's newest mutation was made as far as the hub can tell, in milliseconds since 1970: no
-- later one can have been made before.
ALTER TABLE replicas ADD COLUMN clock bigint NOT NULL DEFAULT 0;

-- Mutations that wait for a person, or waited. The payload is in the ledger under the same number.
-- `record_id` is text, because it stands here as it was sent. `schema` is the catalogue version that
-- the writer went by, `time` when it was written as far as the hub can tell (ms since 1970). Its tx has
-- `size` mutations from number `first` on, which wait and end together; without a tx it is alone.
CREATE TABLE held (
  tenant_id  integer     NOT NULL,
  rid        integer     NOT NULL,
  n          bigint      NOT NULL,
  seq        bigint      NOT NULL,
  person     text        COLLATE "C" NOT NULL,
  collection text        COLLATE "C" NOT NULL,
  record_id  text        COLLATE "C" NOT NULL,
  op         text        NOT NULL,
  code       text        NOT NULL,
  schema     integer     NOT NULL,
  time       bigint      NOT NULL,
  first      bigint      NOT NULL,
  size       integer     NOT NULL,
  state      text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'released', 'discarded')),
  made_at    timestamptz NOT NULL DEFAULT now(),
  ended_at   timestamptz,
  ended_by   text        COLLATE "C",
  ended_rid  integer,
  ended_n    bigint,
  reason     text,
  PRIMARY KEY (tenant_id, rid, n)
);
CREATE INDEX held_in_order ON held (tenant_id, seq);
-- Asked by every group of every record it names, and nearly always empty.
CREATE INDEX held_creates ON held (tenant_id, collection, record_id) WHERE state = 'waiting' AND op = 'create';

-- For each replica the newest of its mutations of which no vector needs an entry, as one map: every
-- group reads it whole.
CREATE TABLE proofs (
  tenant_id integer     NOT NULL,
  vector    bytea       NOT NULL,
  made_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id),
  FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id)
);

DO $$
DECLARE
  guarded name;
BEGIN
  FOREACH guarded IN ARRAY ARRAY['held', 'proofs'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', guarded);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', guarded);
    EXECUTE format(
      'CREATE POLICY tenants_named ON %I'
      ' USING ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE)',
      guarded
    );
  END LOOP;
END
$$;
