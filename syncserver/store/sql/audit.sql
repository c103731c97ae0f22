-- The audit log: rows are added and read, never changed.

-- name: add
INSERT INTO audit (tenant_id, entry_id, person, system, action, object, outcome, request)
SELECT g.tenant_id, g.entry_id::uuid, g.person, g.system, g.action, g.object, g.outcome, g.request
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
  AS g (tenant_id, entry_id, person, system, action, object, outcome, request)

-- name: listed
-- Newest first, before an entry. $3 action, $4 person, $5 not before, $6 before.
SELECT entry_id::text AS entry_id, at, person, system, action, object, outcome, request
FROM audit
WHERE tenant_id = $1
  AND ($2::uuid IS NULL OR entry_id < $2)
  AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR person = $4)
  AND ($5::timestamptz IS NULL OR at >= $5)
  AND ($6::timestamptz IS NULL OR at < $6)
ORDER BY entry_id DESC
LIMIT $7
