-- Connections, and what they want to be told of.

-- name: next_rid
UPDATE counters SET last_rid = last_rid + 1 WHERE tenant_id = $1 RETURNING last_rid

-- name: make_replica
INSERT INTO replicas (tenant_id, rid, kind, authority, handle, person, label)
VALUES ($1, $2, 'connection', $3, $4, '', $5)

-- name: make
INSERT INTO connections (tenant_id, connection, system, name, rid, manifest, manifest_text, base_url, config, mode)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10)
RETURNING created_at

-- name: get
SELECT tenant_id, connection::text, system, name, rid, manifest, manifest_text, base_url, config, mapping_version, mode,
       state, state_reason, in_flight_max, backfill_share, backfill_paused, created_at
FROM connections
WHERE tenant_id = $1 AND connection = $2

-- name: listed
SELECT tenant_id, connection::text, system, name, rid, manifest, manifest_text, base_url, config, mapping_version, mode,
       state, state_reason, in_flight_max, backfill_share, backfill_paused, created_at
FROM connections
WHERE tenant_id = $1
ORDER BY name

-- name: set_state
-- What was tried or came before the connection went on is as old as that: it was not the vendor that was away.
WITH goes_on AS (
  SELECT FROM connections WHERE tenant_id = $1 AND connection = $2 AND state <> 'ok' AND $3 = 'ok'
), taken_up AS (
  UPDATE deliveries SET taken_up_at = now()
  WHERE tenant_id = $1 AND connection = $2 AND due_at IS NOT NULL AND first_sent_at IS NOT NULL
    AND EXISTS (SELECT FROM goes_on)
), taken_up_too AS (
  UPDATE inbox SET taken_up_at = now()
  WHERE tenant_id = $1 AND connection = $2 AND state = 'waiting' AND EXISTS (SELECT FROM goes_on)
)
UPDATE connections SET state = $3, state_reason = $4 WHERE tenant_id = $1 AND connection = $2 RETURNING connection

-- name: set_mode
UPDATE connections SET mode = $3 WHERE tenant_id = $1 AND connection = $2 RETURNING connection

-- name: set_place
UPDATE connections SET base_url = $3, config = $4::text::jsonb
WHERE tenant_id = $1 AND connection = $2
RETURNING connection

-- name: set_pace
UPDATE connections SET in_flight_max = $3, backfill_share = $4, backfill_paused = $5
WHERE tenant_id = $1 AND connection = $2
RETURNING connection

-- name: wait_for_groups
-- A statement of its own, before the interests are written: groups that began without them have ended
-- when it returns, and whatever is settled later sees them.
SELECT pg_advisory_xact_lock($1, $2)

-- name: hold_still
-- Shared, for the transaction: while something is planned, the connection neither goes live nor gets another mapping.
-- A statement of its own, so that what is read after it is what whoever turned the connection left.
SELECT pg_advisory_xact_lock_shared($1, hashtext($2))

-- name: turn
-- What is being planned as the connection was is stored when this returns; what is planned later sees what it became.
SELECT pg_advisory_xact_lock($1, hashtext($2))

-- name: set_mapping
UPDATE connections SET mapping_version = $3 WHERE tenant_id = $1 AND connection = $2 RETURNING rid

-- name: drop_interests
DELETE FROM interests WHERE tenant_id = $1 AND connection = $2

-- name: add_interests
INSERT INTO interests (tenant_id, collection, connection, rid, fields)
SELECT $1, g.collection, $2, $3, coalesce(string_to_array(nullif(g.fields, ''), ','), '{}')
FROM unnest($4::text[], $5::text[]) AS g (collection, fields)

-- name: settled
SELECT seq FROM counters WHERE tenant_id = $1

-- name: fill_lookups
-- The next $5 records of a collection after $4, by the fields $3 that an interest names; nothing comes back at the end.
WITH page AS MATERIALIZED (
  SELECT r.record_id, r.fields
  FROM records AS r
  WHERE r.tenant_id = $1 AND r.collection = $2 AND r.record_id > $4::uuid
  ORDER BY r.record_id
  LIMIT $5
), filled AS (
  INSERT INTO lookups (tenant_id, collection, field, value, record_id)
  SELECT $1, $2, g.field, p.fields ->> g.field, p.record_id
  FROM page AS p
  CROSS JOIN unnest($3::text[]) AS g (field)
  WHERE p.fields ->> g.field IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT max(p.record_id::text) FROM page AS p

-- name: fill_changed
-- The same of what the next $5 changes after $4 made, in whatever collections; nothing comes back at the end.
WITH page AS MATERIALIZED (
  SELECT c.seq, c.collection, c.record_id
  FROM changes AS c
  WHERE c.tenant_id = $1 AND c.seq > $4
  ORDER BY c.seq
  LIMIT $5
), filled AS (
  INSERT INTO lookups (tenant_id, collection, field, value, record_id)
  SELECT DISTINCT $1, g.collection, g.field, r.fields ->> g.field, r.record_id
  FROM page AS p
  JOIN unnest($2::text[], $3::text[]) AS g (collection, field) ON g.collection = p.collection
  CROSS JOIN LATERAL (
    SELECT *
    FROM records AS s
    WHERE s.tenant_id = $1 AND s.collection = p.collection AND s.record_id = p.record_id
    OFFSET 0
  ) AS r
  WHERE r.fields ->> g.field IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT max(p.seq) FROM page AS p

-- name: held
SELECT tenant_id, connection::text, system, name, rid, manifest, manifest_text, base_url, config, mapping_version, mode,
       state, state_reason, in_flight_max, backfill_share, backfill_paused, created_at
FROM connections
WHERE tenant_id = $1 AND connection = $2
FOR UPDATE

-- name: put
WITH goes_on AS (
  SELECT FROM connections WHERE tenant_id = $1 AND connection = $2 AND state <> 'ok' AND $9 = 'ok'
), taken_up AS (
  UPDATE deliveries SET taken_up_at = now()
  WHERE tenant_id = $1 AND connection = $2 AND due_at IS NOT NULL AND first_sent_at IS NOT NULL
    AND EXISTS (SELECT FROM goes_on)
), taken_up_too AS (
  UPDATE inbox SET taken_up_at = now()
  WHERE tenant_id = $1 AND connection = $2 AND state = 'waiting' AND EXISTS (SELECT FROM goes_on)
)
UPDATE connections
SET name = $3, base_url = $4, config = $5::text::jsonb, in_flight_max = $6, backfill_share = $7, backfill_paused = $8,
    state = $9, state_reason = $10, mode = $11
WHERE tenant_id = $1 AND connection = $2

-- name: end_deliveries
UPDATE deliveries
SET state = CASE WHEN state = 'planned' THEN 'superseded' ELSE 'unknown' END, due_at = NULL, leased_by = NULL,
    leased_until = NULL, ended_at = CASE WHEN state = 'planned' THEN now() ELSE ended_at END,
    error_message = 'the connection was removed'
WHERE tenant_id = $1 AND connection = $2 AND state IN ('planned', 'leased', 'sent', 'unknown')

-- name: drop_outbox
DELETE FROM outbox WHERE tenant_id = $1 AND connection = $2

-- name: drop_remotes
DELETE FROM remotes WHERE tenant_id = $1 AND connection = $2

-- name: remove
-- Credentials, interests and what else belongs to it alone go with it.
DELETE FROM connections WHERE tenant_id = $1 AND connection = $2

-- name: pulses
SELECT c.connection::text,
       (SELECT d.ended_at FROM deliveries AS d
        WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.state = 'confirmed' AND d.mode = 'live'
        ORDER BY d.delivery_id DESC LIMIT 1) AS confirmed_at,
       (SELECT max(p.polled_at) FROM polls AS p WHERE p.tenant_id = c.tenant_id AND p.connection = c.connection) AS read_at,
       (SELECT i.received_at FROM inbox AS i WHERE i.tenant_id = c.tenant_id AND i.connection = c.connection
        ORDER BY i.received_at DESC LIMIT 1) AS received_at,
       o.oldest_at, coalesce(o.waiting, 0) AS waiting, coalesce(o.backfill, 0) AS backfill
FROM connections AS c
LEFT JOIN LATERAL (
  SELECT min(w.marked_at) AS oldest_at, count(*) FILTER (WHERE w.lane = 'live') AS waiting,
         count(*) FILTER (WHERE w.lane = 'backfill') AS backfill
  FROM (
    SELECT s.lane, s.marked_at FROM outbox AS s WHERE s.tenant_id = c.tenant_id AND s.connection = c.connection
    UNION ALL
    SELECT d.lane, d.marked_at
    FROM deliveries AS d
    WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.due_at IS NOT NULL AND d.mode = 'live'
  ) AS w
) AS o ON true
WHERE c.tenant_id = $1

-- name: interests
SELECT collection FROM interests WHERE tenant_id = $1 AND connection = $2 ORDER BY collection

-- name: all_interests
SELECT DISTINCT collection FROM interests WHERE tenant_id = $1
