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
CREATE INDEX outbox_due ON outbox (tenant_id, connection, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_waiting ON outbox (tenant_id, connection, waits_on) WHERE waits_on IS NOT NULL;

-- One thing that one system has to be told. `seen_seq` is the state of the tenant that it was made
-- of; of one key the delivery with the higher one knows more. `due_at` is empty when there is nothing
-- left to do, or only for a person. `covers` is what a late object brings the object `late_of` to.
-- `taken_up_at`: a person took it up again after it had been given up, or its connection rested and went on; its age
-- counts from then, else from the first try.
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
  taken_up_at     timestamptz,
  PRIMARY KEY (tenant_id, delivery_id)
) WITH (fillfactor = 70);
-- While a table is empty all its indexes seem alike, and a plan made then stays. So each further index is for
-- queries that name its column: without that, its condition is not met, and it is not even considered. Of
-- several that are, the last one made is taken.
CREATE UNIQUE INDEX deliveries_by_idempotency ON deliveries (tenant_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (tenant_id, connection) WHERE leased_until IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (tenant_id, connection, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_late ON deliveries (tenant_id, connection, late_object, late_key)
  WHERE late_object IS NOT NULL;
CREATE INDEX deliveries_of_record ON deliveries (tenant_id, collection, record_id) WHERE record_id IS NOT NULL;
CREATE INDEX deliveries_of_key ON deliveries (tenant_id, connection, object, key, seen_seq) WHERE key IS NOT NULL;

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
-- `lives` counts how often it was voided: what is made after that is another object there.
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
  lives          integer     NOT NULL DEFAULT 0,
  locked         boolean     NOT NULL DEFAULT false,
  locked_reason  text        NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, connection, object, key)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX remotes_by_id ON remotes (tenant_id, connection, object, remote_id) WHERE remote_id IS NOT NULL;
CREATE INDEX remotes_of_key ON remotes (tenant_id, connection, key) WHERE key IS NOT NULL;

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

-- ---------------------------------------------------------------- credentials

-- What a connection signs in with. `secret` is sealed with one of the secret keys. `asked_at`: somebody has asked for
-- a new token with this version, and what came of it is not known yet.
CREATE TABLE credentials (
  tenant_id              integer     NOT NULL,
  connection             uuid        NOT NULL,
  version                bigint      NOT NULL,
  secret                 bytea       NOT NULL,
  state                  text        NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'reauthorise')),
  reason                 text        NOT NULL DEFAULT '',
  token_expires_at       timestamptz,
  renew_at               timestamptz,
  refresh_expires_at     timestamptz,
  certificate_expires_at timestamptz,
  password_expires_at    timestamptz,
  asked_at               timestamptz,
  leased_until           timestamptz,
  leased_by              uuid,
  changed_at             timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

ALTER TABLE credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_named ON credentials
  USING ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE);

-- ---------------------------------------------------------------- inbox, webhooks, alerts

-- What a vendor signs its calls with. Several are good at a time while one is changed for another. A
-- `candidate` came by a handshake that nobody has vouched for, and verifies nothing yet.
CREATE TABLE hook_secrets (
  tenant_id  integer     NOT NULL,
  connection uuid        NOT NULL,
  secret_id  uuid        NOT NULL,
  secret     bytea       NOT NULL,
  state      text        NOT NULL CHECK (state IN ('active', 'candidate')),
  said       text        NOT NULL DEFAULT '',
  made_at    timestamptz NOT NULL DEFAULT now(),
  ends_at    timestamptz,
  PRIMARY KEY (tenant_id, connection, secret_id),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

-- Vendors' events. `event` is the vendor's id of it or a hash of what it says, so that one that comes
-- twice is one. `body` is JSON as text, because JSON may say what jsonb cannot hold. `is_whole`: it
-- brings the record; else the record has to be fetched. `times` is how often it was received. `taken_up_at`:
-- it was replayed, or its connection rested and went on; its age counts from then, else from when it came.
CREATE TABLE inbox (
  tenant_id      integer     NOT NULL,
  inbox_id       uuid        NOT NULL,
  connection     uuid        NOT NULL,
  event          text        COLLATE "C" NOT NULL,
  source         text        NOT NULL CHECK (source IN ('hook', 'poll', 'reference')),
  object         text        COLLATE "C" NOT NULL,
  remote_id      text        COLLATE "C" NOT NULL,
  remote_version text        COLLATE "C" NOT NULL,
  is_whole       boolean     NOT NULL,
  body           text        NOT NULL,
  state          text        NOT NULL DEFAULT 'waiting' CHECK (
    state IN ('waiting', 'absorbed', 'echo', 'stale', 'ignored', 'failed')
  ),
  reason         text        NOT NULL DEFAULT '',
  verdict        text        NOT NULL DEFAULT '',
  collection     text        COLLATE "C",
  record_id      uuid,
  times          integer     NOT NULL DEFAULT 1,
  tries          integer     NOT NULL DEFAULT 0,
  received_at    timestamptz NOT NULL DEFAULT now(),
  due_at         timestamptz NOT NULL DEFAULT now(),
  leased_until   timestamptz,
  leased_by      uuid,
  ended_at       timestamptz,
  taken_up_at    timestamptz,
  PRIMARY KEY (tenant_id, inbox_id),
  UNIQUE (tenant_id, connection, event)
) WITH (fillfactor = 70);
CREATE INDEX inbox_due ON inbox (tenant_id, connection, due_at) WHERE state = 'waiting';
CREATE INDEX inbox_lane ON inbox (tenant_id, connection, object, remote_id, inbox_id) WHERE state = 'waiting';
CREATE INDEX inbox_record ON inbox (tenant_id, connection, remote_id, inbox_id);
CREATE INDEX inbox_received ON inbox (tenant_id, connection, received_at);

-- A vendor's record as it was last taken in: what an edit is told from. `base` is up to which state of
-- ours the vendor knew each cell. `pending` is a write that is being handed over: whoever finds it
-- hands it over again, under the same key, before anything else is made of the record.
CREATE TABLE sightings (
  tenant_id     integer     NOT NULL,
  connection    uuid        NOT NULL,
  object        text        COLLATE "C" NOT NULL,
  remote_id     text        COLLATE "C" NOT NULL,
  collection    text        COLLATE "C" NOT NULL,
  record_id     uuid        NOT NULL,
  version       text        COLLATE "C" NOT NULL DEFAULT '',
  fields        text        NOT NULL DEFAULT '{}',
  base          text        NOT NULL DEFAULT '{}',
  confirmed_seq bigint      NOT NULL DEFAULT 0,
  pending       text,
  seen_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection, object, remote_id)
) WITH (fillfactor = 70);
CREATE INDEX sightings_of_record ON sightings (tenant_id, connection, collection, record_id);

-- Where polling stands for each object. `since` moves when all pages that were found are stored.
-- `brought_at`: a poll last found what no webhook had brought; `hooked_at`: a webhook last came.
CREATE TABLE polls (
  tenant_id    integer     NOT NULL,
  connection   uuid        NOT NULL,
  object       text        COLLATE "C" NOT NULL,
  since        timestamptz,
  due_at       timestamptz NOT NULL DEFAULT now(),
  polled_at    timestamptz,
  brought_at   timestamptz,
  hooked_at    timestamptz,
  misses       integer     NOT NULL DEFAULT 0,
  is_quiet     boolean     NOT NULL DEFAULT false,
  failures     integer     NOT NULL DEFAULT 0,
  reason       text        NOT NULL DEFAULT '',
  leased_until timestamptz,
  leased_by    uuid,
  PRIMARY KEY (tenant_id, connection, object),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

-- Addresses that a tenant wants to be told at. `old_secret` signs beside the new one until `old_until`.
CREATE TABLE endpoints (
  tenant_id     integer     NOT NULL,
  endpoint_id   uuid        NOT NULL,
  url           text        NOT NULL,
  description   text        NOT NULL DEFAULT '',
  types         text[]      NOT NULL,
  secret        bytea       NOT NULL,
  old_secret    bytea,
  old_until     timestamptz,
  state         text        NOT NULL DEFAULT 'on' CHECK (state IN ('on', 'off', 'disabled')),
  reason        text        NOT NULL DEFAULT '',
  failing_since timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, endpoint_id)
);

-- Up to where a tenant's changes and conflicts were made messages of, and which state of each of its
-- connections was told last.
CREATE TABLE message_positions (
  tenant_id    integer NOT NULL,
  changes_seq  bigint  NOT NULL,
  conflict_seq bigint  NOT NULL,
  connections  text    NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id)
);

-- What happened, in the form in which endpoints are told. An id is made of what happened, so that it
-- is told once however often somebody looks.
CREATE TABLE messages (
  tenant_id  integer     NOT NULL,
  message_id uuid        NOT NULL,
  type       text        COLLATE "C" NOT NULL,
  body       text        NOT NULL,
  made_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, message_id)
);
CREATE INDEX messages_made ON messages (tenant_id, made_at);

-- One message on its way to one endpoint.
CREATE TABLE postings (
  tenant_id    integer     NOT NULL,
  endpoint_id  uuid        NOT NULL,
  message_id   uuid        NOT NULL,
  state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
  tries        integer     NOT NULL DEFAULT 0,
  made_at      timestamptz NOT NULL DEFAULT now(),
  due_at       timestamptz NOT NULL DEFAULT now(),
  leased_until timestamptz,
  leased_by    uuid,
  ended_at     timestamptz,
  PRIMARY KEY (tenant_id, endpoint_id, message_id),
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, endpoint_id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, message_id) ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX postings_due ON postings (tenant_id, endpoint_id, due_at) WHERE state = 'waiting';

CREATE TABLE message_attempts (
  tenant_id   integer     NOT NULL,
  endpoint_id uuid        NOT NULL,
  message_id  uuid        NOT NULL,
  n           integer     NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  status      integer     NOT NULL,
  reply       text        NOT NULL,
  took_ms     integer     NOT NULL,
  PRIMARY KEY (tenant_id, endpoint_id, message_id, n),
  FOREIGN KEY (tenant_id, endpoint_id, message_id)
    REFERENCES postings (tenant_id, endpoint_id, message_id) ON DELETE CASCADE
);

-- What is wrong, once however often it is seen. `told` and `told_resolved` name the sinks that know.
CREATE TABLE alerts (
  tenant_id     integer     NOT NULL,
  alert_id      uuid        NOT NULL,
  rule          text        COLLATE "C" NOT NULL,
  subject       text        COLLATE "C" NOT NULL,
  severity      text        NOT NULL CHECK (severity IN ('warning', 'critical')),
  message       text        NOT NULL,
  opened_at     timestamptz NOT NULL DEFAULT now(),
  seen_at       timestamptz NOT NULL DEFAULT now(),
  resolved_at   timestamptz,
  told          text[]      NOT NULL DEFAULT '{}',
  told_resolved text[]      NOT NULL DEFAULT '{}',
  tries         integer     NOT NULL DEFAULT 0,
  due_at        timestamptz NOT NULL DEFAULT now(),
  trouble       text        NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, alert_id)
);
CREATE UNIQUE INDEX alerts_open ON alerts (tenant_id, rule, subject) WHERE resolved_at IS NULL;

-- By the mark that an object bears there; and by when it was confirmed, to see traffic stop.
CREATE INDEX deliveries_marked ON deliveries (tenant_id, connection, object, marker) WHERE marker IS NOT NULL;
CREATE INDEX deliveries_confirmed ON deliveries (tenant_id, connection, ended_at) WHERE state = 'confirmed';

DO $$
DECLARE
  guarded name;
BEGIN
  FOREACH guarded IN ARRAY ARRAY[
    'hook_secrets', 'inbox', 'sightings', 'polls', 'endpoints', 'message_positions', 'messages', 'postings',
    'message_attempts', 'alerts'
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

-- ---------------------------------------------------------------- dead letters

-- What people decided about deliveries that were given up, or of which nobody knew what became.
-- `before` and `after` are the fields, where they were edited.
CREATE TABLE interventions (
  tenant_id   integer     NOT NULL,
  delivery_id uuid        NOT NULL,
  n           integer     NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  person      text        COLLATE "C" NOT NULL,
  action      text        COLLATE "C" NOT NULL CHECK (action IN ('edit', 'retry', 'replan', 'skip', 'done')),
  reason      text        NOT NULL DEFAULT '',
  before      jsonb,
  after       jsonb,
  PRIMARY KEY (tenant_id, delivery_id, n)
);
CREATE INDEX deliveries_dead ON deliveries (tenant_id, connection, delivery_id)
  WHERE state = 'rejected' OR (state = 'unknown' AND due_at IS NULL);

ALTER TABLE interventions ENABLE ROW LEVEL SECURITY;
ALTER TABLE interventions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_named ON interventions
  USING ((tenant_id = ANY ((SELECT fieldsync_tenants())::integer[])) IS TRUE);

-- ---------------------------------------------------------------- mappings, samples, schemas

-- The versions of a connection's mapping. What a version says never changes; a draft becomes published,
-- and may be published once more as a new version (`restores`) when a later one turned out wrong.
CREATE TABLE mappings (
  tenant_id    integer     NOT NULL,
  connection   uuid        NOT NULL,
  version      integer     NOT NULL,
  digest       text        COLLATE "C" NOT NULL,
  content      text        NOT NULL,
  state        text        NOT NULL CHECK (state IN ('draft', 'published')),
  note         text        NOT NULL DEFAULT '',
  restores     integer,
  made_by      text        COLLATE "C" NOT NULL,
  made_at      timestamptz NOT NULL DEFAULT now(),
  published_by text        COLLATE "C",
  published_at timestamptz,
  PRIMARY KEY (tenant_id, connection, version),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE,
  CHECK ((state = 'published') = (published_at IS NOT NULL))
);

CREATE FUNCTION fieldsync_mapping_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a version of a mapping never changes; save another one' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER mappings_stay BEFORE UPDATE ON mappings FOR EACH ROW
  WHEN (OLD.content IS DISTINCT FROM NEW.content OR OLD.state = 'published' AND NEW.state = 'draft')
  EXECUTE FUNCTION fieldsync_mapping_stays();

-- What objects were made of lately, the newest of each: what another version is tried on.
CREATE TABLE samples (
  tenant_id  integer     NOT NULL,
  connection uuid        NOT NULL,
  way        text        NOT NULL CHECK (way IN ('out', 'into')),
  object     text        COLLATE "C" NOT NULL,
  key        text        COLLATE "C" NOT NULL,
  collection text        COLLATE "C" NOT NULL,
  context    jsonb       NOT NULL,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection, way, object, key),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);
CREATE INDEX samples_by_age ON samples (tenant_id, connection, way, object, taken_at);

-- The fields that an object was found to have there. A row is added when they are others than before;
-- `findings` says what had changed, `seen_at` when they were last found so.
CREATE TABLE schemas (
  tenant_id  integer     NOT NULL,
  connection uuid        NOT NULL,
  object     text        COLLATE "C" NOT NULL,
  version    integer     NOT NULL,
  digest     text        COLLATE "C" NOT NULL,
  source     text        COLLATE "C" NOT NULL,
  fields     jsonb       NOT NULL,
  findings   jsonb       NOT NULL DEFAULT '[]',
  found_at   timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection, object, version),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

-- The OpenAPI document that a connection was given, packed. `version` counts how often it was another one.
CREATE TABLE documents (
  tenant_id  integer     NOT NULL,
  connection uuid        NOT NULL,
  version    integer     NOT NULL,
  digest     text        COLLATE "C" NOT NULL,
  title      text        NOT NULL DEFAULT '',
  content    bytea       NOT NULL,
  bytes      integer     NOT NULL,
  put_by     text        COLLATE "C" NOT NULL,
  put_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

-- Records there that are read again and again to see whether the system has changed. `kept` is the one as it was
-- read first; `ways` are paths that the system has always written otherwise than it was told; `asked_at`: it is
-- being told the record once more, and what it gives back then is compared.
CREATE TABLE canaries (
  tenant_id     integer     NOT NULL,
  connection    uuid        NOT NULL,
  object        text        COLLATE "C" NOT NULL,
  remote_id     text        COLLATE "C" NOT NULL,
  writes        boolean     NOT NULL,
  every_seconds integer     NOT NULL CHECK (every_seconds > 0),
  kept          jsonb,
  kept_at       timestamptz,
  ways          jsonb,
  findings      jsonb       NOT NULL DEFAULT '[]',
  reason        text        NOT NULL DEFAULT '',
  asked_at      timestamptz,
  read_at       timestamptz,
  due_at        timestamptz NOT NULL DEFAULT now(),
  made_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, connection, object),
  FOREIGN KEY (tenant_id, connection) REFERENCES connections (tenant_id, connection) ON DELETE CASCADE
);

DO $$
DECLARE
  guarded name;
BEGIN
  FOREACH guarded IN ARRAY ARRAY['mappings', 'samples', 'schemas', 'documents', 'canaries'] LOOP
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
