-- Versions of mappings, the samples they are tried on, the fields that objects have there.

-- name: lock
-- Versions are given numbers, and put in force, one after the other.
SELECT mapping_version, mode, state FROM connections WHERE tenant_id = $1 AND connection = $2 FOR UPDATE

-- name: add
INSERT INTO mappings (tenant_id, connection, version, digest, content, state, note, restores, made_by)
SELECT $1, $2, coalesce(max(m.version), 0) + 1, $3, $4, 'draft', $5, $6, $7
FROM mappings AS m
WHERE m.tenant_id = $1 AND m.connection = $2
RETURNING version

-- name: newest
SELECT version, digest, state FROM mappings
WHERE tenant_id = $1 AND connection = $2
ORDER BY version DESC
LIMIT 1

-- name: publish
UPDATE mappings SET state = 'published', published_by = $4, published_at = now()
WHERE tenant_id = $1 AND connection = $2 AND version = $3 AND state = 'draft'

-- name: get
SELECT version, digest, content, state, note, restores, made_by, made_at, published_by, published_at
FROM mappings
WHERE tenant_id = $1 AND connection = $2 AND version = $3

-- name: listed
SELECT version, digest, '' AS content, state, note, restores, made_by, made_at, published_by, published_at
FROM mappings
WHERE tenant_id = $1 AND connection = $2 AND version < $3
ORDER BY version DESC
LIMIT $4

-- name: content
SELECT content FROM mappings WHERE tenant_id = $1 AND connection = $2 AND version = $3

-- name: keep_sample
INSERT INTO samples (tenant_id, connection, way, object, key, collection, context)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
ON CONFLICT (tenant_id, connection, way, object, key)
DO UPDATE SET collection = excluded.collection, context = excluded.context, taken_at = now()

-- name: trim_samples
DELETE FROM samples
WHERE tenant_id = $1 AND connection = $2 AND way = $3 AND object = $4 AND key NOT IN (
  SELECT s.key FROM samples AS s
  WHERE s.tenant_id = $1 AND s.connection = $2 AND s.way = $3 AND s.object = $4
  ORDER BY s.taken_at DESC, s.key
  LIMIT $5
)

-- name: samples
SELECT way, object, key, collection, context
FROM samples
WHERE tenant_id = $1 AND connection = $2
ORDER BY way, object, taken_at DESC, key

-- name: keep_schema
INSERT INTO schemas (tenant_id, connection, object, version, digest, source, fields, findings)
SELECT $1, $2, $3, coalesce(max(s.version), 0) + 1, $4, $5, $6::text::jsonb, $7::text::jsonb
FROM schemas AS s
WHERE s.tenant_id = $1 AND s.connection = $2 AND s.object = $3
RETURNING version

-- name: seen_schema
UPDATE schemas SET seen_at = now() WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND version = $4

-- name: newest_schema
SELECT version, digest, source, fields, found_at, seen_at,
       (extract(epoch FROM now() - seen_at) * 1000)::bigint AS age_ms
FROM schemas
WHERE tenant_id = $1 AND connection = $2 AND object = $3
ORDER BY version DESC
LIMIT 1

-- name: schemas
SELECT DISTINCT ON (object) object, source, fields
FROM schemas
WHERE tenant_id = $1 AND connection = $2
ORDER BY object, version DESC
