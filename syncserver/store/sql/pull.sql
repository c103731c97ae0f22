-- What a replica is told: pages of its readers' feed, or first a snapshot at a fixed number.

-- name: head
-- Where the tenant stands, and the catalogue that held at $3 (NULL: now). $4: versions already held.
SELECT c.seq, r.applied, g.version, CASE WHEN g.version = ANY ($4::integer[]) THEN NULL ELSE g.content END AS content
FROM counters AS c
JOIN replicas AS r ON r.tenant_id = c.tenant_id AND r.rid = $2
LEFT JOIN LATERAL (
  SELECT h.version, h.content
  FROM catalogs AS h
  WHERE h.tenant_id = c.tenant_id AND h.from_seq <= coalesce($3::bigint, c.seq)
  ORDER BY h.version DESC
  LIMIT 1
) AS g ON true
WHERE c.tenant_id = $1

-- name: page
-- The first $5 rows after the positions, most urgent class first, in commit order within a class.
-- $2 reader, $3 class, $4 position: one element for each part. The state is that of the record's
-- last change up to the row. `overtaken`: a later row about the same record travelled with its tx
-- in a more urgent class, so it was told before, and this one would undo it.
SELECT f.class, f.seq, f.commit_seq, f.op, f.collection, f.record_id::text AS record_id, f.lifted,
       s.seq AS rev, s.state, s.commit_seq AS state_commit_seq, s.tx,
       f.class > 0 AND EXISTS (
         SELECT
         FROM feed AS l
         WHERE l.tenant_id = $1 AND l.reader = f.reader AND l.collection = f.collection
           AND l.record_id = f.record_id AND l.seq > f.seq AND l.lifted AND l.class < f.class
       ) AS overtaken
FROM (
  SELECT p.reader, p.class, r.seq, r.commit_seq, r.op, r.collection, r.record_id, r.lifted
  FROM unnest($2::text[], $3::smallint[], $4::bigint[]) AS p (reader, class, position)
  CROSS JOIN LATERAL (
    SELECT q.seq, q.commit_seq, q.op, q.collection, q.record_id, q.lifted
    FROM feed AS q
    WHERE q.tenant_id = $1 AND q.reader = p.reader AND q.class = p.class AND q.seq > p.position
    ORDER BY q.seq
    LIMIT $5
  ) AS r
  ORDER BY p.class, r.seq
  LIMIT $5
) AS f
LEFT JOIN LATERAL (
  SELECT c.seq, c.commit_seq, c.tx, CASE WHEN f.op IN ('put', 'enter') THEN c.state END AS state
  FROM changes AS c
  WHERE c.tenant_id = $1 AND c.collection = f.collection AND c.record_id = f.record_id AND c.seq <= f.seq
  ORDER BY c.seq DESC
  LIMIT 1
) AS s ON true
ORDER BY f.class, f.seq

-- name: snapshot_private
-- Records of a collection that a person held at $5, from the id $4 on, each as it was at $5. A reference may name
-- a record that nobody has made: it has no change.
SELECT m.record_id::text AS record_id, s.op, s.seq AS rev, s.state
FROM (
  SELECT DISTINCT i.record_id
  FROM memberships AS i
  WHERE i.tenant_id = $1 AND i.person = $2 AND i.collection = $3 AND i.record_id >= $4::text::uuid
    AND i.from_seq <= $5 AND (i.to_seq IS NULL OR i.to_seq > $5)
  ORDER BY i.record_id
  LIMIT $6
) AS m
LEFT JOIN LATERAL (
  SELECT c.op, c.seq, c.state
  FROM changes AS c
  WHERE c.tenant_id = $1 AND c.collection = $3 AND c.record_id = m.record_id AND c.seq <= $5
  ORDER BY c.seq DESC
  LIMIT 1
) AS s ON true
ORDER BY m.record_id

-- name: snapshot_shared
-- The same for a collection that everybody reads. Records that are newer than $4 have no change yet.
SELECT m.record_id::text AS record_id, s.op, s.seq AS rev, s.state
FROM (
  SELECT r.record_id
  FROM records AS r
  WHERE r.tenant_id = $1 AND r.collection = $2 AND r.record_id >= $3::text::uuid
  ORDER BY r.record_id
  LIMIT $5
) AS m
LEFT JOIN LATERAL (
  SELECT c.op, c.seq, c.state
  FROM changes AS c
  WHERE c.tenant_id = $1 AND c.collection = $2 AND c.record_id = m.record_id AND c.seq <= $4
  ORDER BY c.seq DESC
  LIMIT 1
) AS s ON true
ORDER BY m.record_id

-- name: cells
-- The cells of these records as they are now.
SELECT r.collection, r.record_id::text AS record_id, r.cells
FROM unnest($2::text[], $3::text[]) AS w (collection, record_id)
JOIN records AS r ON r.tenant_id = $1 AND r.collection = w.collection AND r.record_id = w.record_id::uuid

-- name: positions
-- A position never goes back: pages may be answered out of order.
-- $5: the key that seals the cursors which are given out now.
INSERT INTO positions AS p (tenant_id, rid, seq, pulled_at, sealed_by)
SELECT g.tenant_id, g.rid, g.seq, to_timestamp(g.pulled_ms / 1000.0), $5
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[]) AS g (tenant_id, rid, seq, pulled_ms)
ON CONFLICT (tenant_id, rid) DO UPDATE
SET seq = greatest(p.seq, excluded.seq), pulled_at = greatest(p.pulled_at, excluded.pulled_at),
    sealed_by = excluded.sealed_by
