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
-- The states of a record from the last one before $4 on, newest first: what it was told of, and all since. Of these the
-- next $6 before the change $5.
SELECT c.seq, convert_from(c.state, 'UTF8') AS state
FROM changes AS c
WHERE c.tenant_id = $1 AND c.collection = $2 AND c.record_id = $3 AND c.seq < $5
  AND c.seq >= coalesce((
    SELECT max(p.seq)
    FROM changes AS p
    WHERE p.tenant_id = $1 AND p.collection = $2 AND p.record_id = $3 AND p.seq < $4
  ), 0)
ORDER BY c.seq DESC
LIMIT $6

-- name: gathered
-- The next $9 living records of a collection after $8 that have the values $4, of which the field $3 is the one to look
-- them up by. Where the field $5 is named, without those whose text there begins with a day that is not from $6 to $7:
-- whether an instant lies in a period is for the reader to say, who knows the zone.
SELECT r.collection, r.record_id::text, r.rev, r.alive, r.fields
FROM lookups AS g
CROSS JOIN LATERAL (
  SELECT *
  FROM records AS s
  WHERE s.tenant_id = g.tenant_id AND s.collection = g.collection AND s.record_id = g.record_id
  OFFSET 0
) AS r
WHERE g.tenant_id = $1 AND g.collection = $2 AND g.field = $3 AND g.value = $4::text::jsonb ->> $3
  AND g.record_id > $8::uuid AND r.alive AND r.fields @> $4::text::jsonb
  AND (
    $5 = '' OR left(r.fields ->> $5, 10) COLLATE "C" BETWEEN $6 AND $7
    OR r.fields ->> $5 !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}'
  )
ORDER BY g.record_id
LIMIT $9

-- name: untold
-- Those of the records $6 (object, collection, id) that nobody sees to. They do not wait to be planned, as urgently as
-- $5; nothing of them is under way; and what they are now was neither given up, which a person decides on, nor skipped
-- by one. What was recorded in another mode ($3), or given up under another version ($4), does not count.
SELECT DISTINCT g.collection, g.record_id
FROM unnest($6::text[], $7::text[], $8::text[]) AS g (object, collection, record_id)
CROSS JOIN LATERAL (
  SELECT *
  FROM records AS s
  WHERE s.tenant_id = $1 AND s.collection = g.collection AND s.record_id = g.record_id::uuid
  OFFSET 0
) AS r
WHERE NOT (
  SELECT EXISTS (
    SELECT FROM outbox AS o
    WHERE o.tenant_id = $1 AND o.connection = $2 AND o.collection = r.collection AND o.record_id = r.record_id
      AND $5 IN (o.lane, 'backfill')
  )
)
AND NOT (
  SELECT EXISTS (
    SELECT FROM deliveries AS d
    WHERE d.tenant_id = $1 AND d.collection = r.collection AND d.record_id = r.record_id AND d.connection = $2
      AND d.object = g.object AND d.mode = $3
      AND (
        d.state IN ('planned', 'leased', 'sent', 'unknown')
        OR (d.seen_seq >= r.rev AND d.mapping_version = $4 AND (d.state = 'rejected' OR EXISTS (
          SELECT FROM interventions AS i
          WHERE i.tenant_id = d.tenant_id AND i.delivery_id = d.delivery_id AND i.action = 'skip'
        )))
      )
  )
)
ORDER BY g.collection, g.record_id

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
