-- What objects are made of: records as they stand, in one snapshot.

-- name: head
SELECT c.seq, c.catalog_version FROM counters AS c WHERE c.tenant_id = $1

-- name: catalog
SELECT content FROM catalogs WHERE tenant_id = $1 AND version = $2

-- name: records
SELECT r.collection, r.record_id::text, r.rev, r.alive, r.fields
FROM unnest($2::text[], $3::text[]) AS g (collection, record_id)
CROSS JOIN LATERAL (
  SELECT *
  FROM records AS s
  WHERE s.tenant_id = $1 AND s.collection = g.collection AND s.record_id = g.record_id::uuid
  OFFSET 0
) AS r

-- name: former
-- The states of a record from the last one before $4 on, newest first: what it was told of, and all since.
SELECT convert_from(c.state, 'UTF8') AS state
FROM changes AS c
WHERE c.tenant_id = $1 AND c.collection = $2 AND c.record_id = $3
  AND c.seq >= coalesce((
    SELECT max(p.seq)
    FROM changes AS p
    WHERE p.tenant_id = $1 AND p.collection = $2 AND p.record_id = $3 AND p.seq < $4
  ), 0)
ORDER BY c.seq DESC
LIMIT $5

-- name: gathered
-- The living records of a collection that have these values; $3 and $4 are one of them, to look them up by.
SELECT r.collection, r.record_id::text, r.rev, r.alive, r.fields
FROM lookups AS g
CROSS JOIN LATERAL (
  SELECT *
  FROM records AS s
  WHERE s.tenant_id = g.tenant_id AND s.collection = g.collection AND s.record_id = g.record_id
  OFFSET 0
) AS r
WHERE g.tenant_id = $1 AND g.collection = $2 AND g.field = $3 AND g.value = $4
  AND r.alive AND r.fields @> $5::text::jsonb
ORDER BY r.record_id
LIMIT $6

-- name: moved
-- The newest change of a record by a replica; 0 if there is none.
SELECT coalesce(max(c.seq) FILTER (WHERE c.rid = $4), 0)
FROM (
  SELECT s.seq, s.rid
  FROM changes AS s
  WHERE s.tenant_id = $1 AND s.collection = $2 AND s.record_id = $3
  ORDER BY s.seq DESC
  OFFSET 0
) AS c

-- name: newest
-- The living records of a collection that changed last.
SELECT r.record_id::text, r.fields
FROM records AS r
WHERE r.tenant_id = $1 AND r.collection = $2 AND r.alive
ORDER BY r.rev DESC
LIMIT $3
