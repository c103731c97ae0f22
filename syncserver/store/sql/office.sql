-- What the office is shown: records, their history, conflicts.

-- name: record
SELECT record_id::text, rev, alive, fields::text AS fields, cells
FROM records
WHERE tenant_id = $1 AND collection = $2 AND record_id = $3

-- Whether a person holds a record now.
-- name: holds
SELECT EXISTS (
  SELECT FROM memberships
  WHERE tenant_id = $1 AND collection = $2 AND record_id = $3 AND person = $4 AND to_seq IS NULL
)

-- A page of living records in order of id. $4: fields that must be equal; $5: only after this id;
-- $6: only those moved after this rev; $7: only those that this person holds; $8: fields that must
-- be null, or not there.
-- name: records
SELECT record_id::text, rev, fields::text AS fields
FROM records r
WHERE tenant_id = $1 AND collection = $2 AND alive AND fields @> $4::jsonb
  AND ($5::uuid IS NULL OR record_id > $5) AND rev > $6
  AND ($7::text IS NULL OR EXISTS (
    SELECT FROM memberships m
    WHERE m.tenant_id = $1 AND m.person = $7 AND m.collection = $2
      AND m.record_id = r.record_id AND m.to_seq IS NULL))
  AND NOT EXISTS (SELECT FROM unnest($8::text[]) AS e (name) WHERE coalesce(fields -> e.name, 'null') <> 'null')
ORDER BY record_id
LIMIT $3

-- The changes of a record, newest first, before a seq.
-- name: history
SELECT seq, op, rid, n, tx, person, authority, at, received_at, cells
FROM changes
WHERE tenant_id = $1 AND collection = $2 AND record_id = $3 AND seq < $4
ORDER BY seq DESC
LIMIT $5

-- Conflicts, newest first, before a seq and id.
-- name: conflicts
SELECT conflict_id, seq, state, entry, made_at, ended_at, ended_rid, ended_n
FROM conflicts
WHERE tenant_id = $1 AND (seq, conflict_id) < ($2, $3)
  AND ($4::text IS NULL OR state = $4)
  AND ($5::text IS NULL OR collection = $5)
  AND ($6::uuid IS NULL OR record_id = $6)
ORDER BY seq DESC, conflict_id DESC
LIMIT $7

-- Whether an answer is kept under an idempotency key.
-- name: is_answered
SELECT EXISTS (SELECT FROM remembered WHERE tenant_id = $1 AND key = $2)

-- name: conflict
SELECT conflict_id, seq, state, entry, made_at, ended_at, ended_rid, ended_n
FROM conflicts
WHERE tenant_id = $1 AND conflict_id = $2

