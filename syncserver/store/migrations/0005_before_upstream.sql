-- Upstream: what vendors' systems have to be told, what they were told, and what came of it.

-- How large a tenant's share of the workers is, measured against the others'.
ALTER TABLE tenants ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000);

-- ---------------------------------------------------------------- connections, outbox, deliveries

-- A tenant's connection to one system. `rid` is the replica in whose name that system's own edits
-- are written. `manifest_text` is there where the manifest is not one of those that are shipped.
-- `in_flight_max` bounds how many deliveries are under way at once, `backfill_share` which part of
-- that, in percent, may go to a backfill.
CREATE TABLE connections (
  tenant_id       integer     NOT NULL,
  connection      uuid        NOT NULL,
  system          text        COLLATE "C" NOT NULL,
  name            text        NOT NULL,
  rid             integer     NOT NULL,
  manifest        text        COLLATE "C" NOT NULL,
  manifest_text   text,
  base_url        text,
  config          jsonb       NOT NULL DEFAULT '{}',
  mapping_version integer,
  mode            text        NOT NULL DEFAULT 'shadow' CHECK (mode IN ('shadow', 'live')),
  state           text        NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'paused', 'reauthorise', 'broken')),
  state_reason    text        NOT NULL DEFAULT '',
  in_flight_max   integer     NOT NULL DEFAULT 8 CHECK (in_flight_max BETWEEN 1 AND 1000),
  backfill_share  integer     NOT NULL DEFAULT 10 CHECK (backfill_share BETWEEN 1 AND 100),
  backfill_paused boolean     NOT NULL DEFAULT false,
  created_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, rid) REFERENCES replicas (tenant_id, rid)
);

-- Which collections a connection wants to be told of. Every group reads its tenants' rows; there are
-- few. `fields` are those by which records of the collection are looked up when others are planned.
CREATE TABLE interests (
  tenant_id  integer NOT NULL,
  collection text    COLLATE "C" NOT NULL,
  connection uuid    NOT NULL,
  rid        integer NOT NULL,
  fields     text[]  NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, collection, connection),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

-- Records by a value of one of their fields, for the fields that interests name. A row is a hint: it
-- stays when the value moves on, so whoever follows it compares.
CREATE TABLE lookups (
  tenant_id  integer NOT NULL,
  collection text    COLLATE "C" NOT NULL,
  field      text    COLLATE "C" NOT NULL,
  value      text    COLLATE "C" NOT NULL,
  record_id  uuid    NOT NULL,
  PRIMARY KEY (tenant_id, collection, field, value, record_id)
);

-- A row says: this record is newer than what that connection was told. `from_seq` is the first change
-- that it was not told of, `seq` the newest. `correct`: what the system itself wrote did not stand, so
-- it is told even what it was told before. `waits_on` is a record that has to be there before.
CREATE TABLE outbox (
  tenant_id    integer     NOT NULL,
  connection   uuid        NOT NULL,
  collection   text        COLLATE "C" NOT NULL,
  record_id    uuid        NOT NULL,
  seq          bigint      NOT NULL,
  from_seq     bigint      NOT NULL,
  cause_rid    integer     NOT NULL,
  correct      boolean     NOT NULL DEFAULT false,
  lane         text        NOT NULL DEFAULT 'live' CHECK (lane IN ('live', 'backfill')),
  marked_at    timestamptz NOT NULL DEFAULT now(),
  due_at       timestamptz NOT NULL DEFAULT now(),
  leased_until timestamptz,
  leased_by    uuid,
  attempts     integer     NOT NULL DEFAULT 0,
  waits_on     uuid,
  reason       text        NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, connection, collection, record_id)
) WITH (fillfactor = 70);
CREATE INDEX outbox_due ON outbox (tenant_id, connection, lane, due_at);
CREATE INDEX outbox_waiting ON outbox (tenant_id, connection, waits_on) WHERE waits_on IS NOT NULL;

-- One thing that one system has to be told. `seen_seq` is the state of the tenant that it was made
-- of; of one key the delivery with the higher one knows more. `due_at` is empty when there is nothing
-- left to do, or only for a person. `covers` is what a late object brings the object `late_of` to.
CREATE TABLE deliveries (
  tenant_id       integer     NOT NULL,
  delivery_id     uuid        NOT NULL,
  connection      uuid        NOT NULL,
  object          text        COLLATE "C" NOT NULL,
  key             text        COLLATE "C" NOT NULL,
  collection      text        COLLATE "C" NOT NULL,
  record_id       uuid        NOT NULL,
  cause_seq       bigint      NOT NULL,
  seen_seq        bigint      NOT NULL,
  action          text        NOT NULL CHECK (action IN ('upsert', 'void')),
  lane            text        NOT NULL DEFAULT 'live' CHECK (lane IN ('live', 'backfill')),
  state           text        NOT NULL CHECK (
    state IN ('planned', 'leased', 'sent', 'confirmed', 'rejected', 'unknown', 'superseded')
  ),
  mode            text        NOT NULL CHECK (mode IN ('shadow', 'live')),
  idempotency_key uuid        NOT NULL,
  marker          text        COLLATE "C" NOT NULL,
  fields          jsonb       NOT NULL,
  mapping_version integer     NOT NULL,
  late_object     text        COLLATE "C",
  late_key        text        COLLATE "C",
  covers          jsonb,
  sends           integer     NOT NULL DEFAULT 0,
  reads           integer     NOT NULL DEFAULT 0,
  conflicts       integer     NOT NULL DEFAULT 0,
  tried           integer     NOT NULL DEFAULT 0,
  first_sent_at   timestamptz,
  last_sent_at    timestamptz,
  due_at          timestamptz,
  leased_until    timestamptz,
  leased_by       uuid,
  remote_id       text        COLLATE "C",
  remote_version  text        COLLATE "C",
  error_class     text        NOT NULL DEFAULT '',
  error_code      text        NOT NULL DEFAULT '',
  error_message   text        NOT NULL DEFAULT '',
  marked_at       timestamptz NOT NULL,
  made_at         timestamptz NOT NULL DEFAULT now(),
  ended_at        timestamptz,
  superseded_by   uuid,
  PRIMARY KEY (tenant_id, delivery_id),
  UNIQUE (tenant_id, idempotency_key)
) WITH (fillfactor = 70);
CREATE INDEX deliveries_due ON deliveries (tenant_id, connection, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_of_key ON deliveries (tenant_id, connection, object, key, seen_seq);
CREATE INDEX deliveries_of_record ON deliveries (tenant_id, collection, record_id);
CREATE INDEX deliveries_late ON deliveries (tenant_id, connection, late_object, late_key)
  WHERE late_object IS NOT NULL;

-- Each request that a delivery made, without secrets and cut to a length.
CREATE TABLE attempts (
  tenant_id   integer     NOT NULL,
  delivery_id uuid        NOT NULL,
  n           integer     NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  operation   text        COLLATE "C" NOT NULL,
  request     text        NOT NULL,
  status      integer     NOT NULL,
  reply       text        NOT NULL,
  outcome     text        COLLATE "C" NOT NULL,
  took_ms     integer     NOT NULL,
  PRIMARY KEY (tenant_id, delivery_id, n)
);

-- What a system is known to have: for each object and key its id there, its version, and the fields
-- that were confirmed last. `locked`: it is closed there, and later facts need an object of their own.
CREATE TABLE remotes (
  tenant_id      integer     NOT NULL,
  connection     uuid        NOT NULL,
  object         text        COLLATE "C" NOT NULL,
  key            text        COLLATE "C" NOT NULL,
  remote_id      text        COLLATE "C",
  remote_version text        COLLATE "C",
  fields         jsonb,
  confirmed_seq  bigint      NOT NULL DEFAULT 0,
  confirmed_at   timestamptz,
  voided         boolean     NOT NULL DEFAULT false,
  locked         boolean     NOT NULL DEFAULT false,
  locked_reason  text        NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, connection, object, key),
  UNIQUE (tenant_id, connection, object, remote_id)
) WITH (fillfactor = 70);
CREATE INDEX remotes_of_key ON remotes (tenant_id, connection, key);

-- Periods that are closed at a system: payroll has run, the books are shut. `period` is the first day.
CREATE TABLE closures (
  tenant_id  integer     NOT NULL,
  connection uuid        NOT NULL,
  object     text        COLLATE "C" NOT NULL,
  period     text        COLLATE "C" NOT NULL,
  reason     text        NOT NULL DEFAULT '',
  closed_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection, object, period)
);

-- ---------------------------------------------------------------- the second wall

DO $$
DECLARE
  guarded name;
BEGIN
  FOREACH guarded IN ARRAY ARRAY[
    'connections', 'interests', 'lookups', 'outbox', 'deliveries', 'attempts', 'remotes', 'closures'
  ] LOOP
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
