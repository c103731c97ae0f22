-- What the worker needs to know: which verdicts no device will ask for again, and when each of its
-- tasks was last done for each tenant.

-- How far each device has its verdicts (`n`, by its own word), and how far its mutations are in the
-- oldest backup that is still offered for restore (`durable`). The ledger may be trimmed up to the
-- lower of the two. Written without the tenant's lock, and may lag: a number that is too low only
-- keeps rows a little longer.
CREATE TABLE seen_verdicts (
  tenant_id integer NOT NULL,
  rid       integer NOT NULL,
  n         bigint  NOT NULL,
  durable   bigint  NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, rid),
  FOREIGN KEY (tenant_id, rid) REFERENCES replicas (tenant_id, rid)
) WITH (fillfactor = 70);

-- When each task was last done to its end. All workers read it, so each task is done once in its
-- interval however many they are, and however often they are started.
CREATE TABLE upkeep (
  tenant_id integer     NOT NULL,
  task      text        COLLATE "C" NOT NULL,
  done_at   timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, task),
  FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id)
);

-- Answers are pruned by their age.
CREATE INDEX remembered_by_age ON remembered (tenant_id, made_at);

DO $$
DECLARE
  guarded name;
BEGIN
  FOREACH guarded IN ARRAY ARRAY['seen_verdicts', 'upkeep'] LOOP
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
