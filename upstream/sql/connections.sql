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

-- name: set_mapping
UPDATE connections SET mapping_version = $3 WHERE tenant_id = $1 AND connection = $2 RETURNING rid

-- name: drop_interests
DELETE FROM interests WHERE tenant_id = $1 AND connection = $2

-- name: add_interests
INSERT INTO interests (tenant_id, collection, connection, rid, fields)
SELECT $1, g.collection, $2, $3, string_to_array(nullif(g.fields, ''), ',')
FROM unnest($4::text[], $5::text[]) AS g (collection, fields)

-- name: fill_lookups
-- What is known already, by the fields that interests name.
INSERT INTO lookups (tenant_id, collection, field, value, record_id)
SELECT r.tenant_id, r.collection, g.field, r.fields ->> g.field, r.record_id
FROM unnest($2::text[], $3::text[]) AS g (collection, field)
CROSS JOIN LATERAL (
  SELECT * FROM records AS s WHERE s.tenant_id = $1 AND s.collection = g.collection OFFSET 0
) AS r
WHERE r.fields ->> g.field IS NOT NULL
ON CONFLICT DO NOTHING
