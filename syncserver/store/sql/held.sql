-- Mutations that wait for a person, or waited.

-- name: listed
-- Newest first, before a place (seq, rid, n). $5: state, $6: collection; NULL for any.
SELECT h.rid, h.n, h.seq, h.person, h.collection, h.record_id, h.op, h.code, h.schema, h.time, h.state, h.made_at,
       h.ended_at, h.ended_by, h.ended_rid, h.ended_n, h.reason, r.kind, r.authority
FROM held AS h
CROSS JOIN LATERAL (
  SELECT i.kind, i.authority FROM replicas AS i WHERE i.tenant_id = h.tenant_id AND i.rid = h.rid OFFSET 0
) AS r
WHERE h.tenant_id = $1 AND (h.seq, h.rid, h.n) < ($2, $3, $4)
  AND ($5::text IS NULL OR h.state = $5)
  AND ($6::text IS NULL OR h.collection = $6)
ORDER BY h.seq DESC, h.rid DESC, h.n DESC
LIMIT $7

-- name: one
SELECT h.rid, h.n, h.seq, h.person, h.collection, h.record_id, h.op, h.code, h.schema, h.time, h.state, h.made_at,
       h.ended_at, h.ended_by, h.ended_rid, h.ended_n, h.reason, r.kind, r.authority, l.payload
FROM held AS h
JOIN replicas AS r ON r.tenant_id = h.tenant_id AND r.rid = h.rid
JOIN ledger AS l ON l.tenant_id = h.tenant_id AND l.rid = h.rid AND l.n = h.n
WHERE h.tenant_id = $1 AND h.rid = $2 AND h.n = $3

-- name: discard
UPDATE held
SET state = 'discarded', ended_at = now(), ended_by = $4, reason = $5
WHERE tenant_id = $1 AND rid = $2 AND n = $3 AND state = 'waiting'
RETURNING n
