-- Mutations that wait for a person, or waited.

-- name: listed
-- Newest first, before a place (seq, rid, n). $5: state, $6: collection; NULL for any.
SELECT h.rid, h.n, h.first, h.size, h.seq, h.person, h.collection, h.record_id, h.op, h.code, h.schema, h.time, h.state,
       h.made_at, h.ended_at, h.ended_by, h.ended_rid, h.ended_n, h.reason, r.kind, r.authority
FROM held AS h
CROSS JOIN LATERAL (
  SELECT i.kind, i.authority FROM replicas AS i WHERE i.tenant_id = h.tenant_id AND i.rid = h.rid OFFSET 0
) AS r
WHERE h.tenant_id = $1 AND (h.seq, h.rid, h.n) < ($2, $3, $4)
  AND ($5::text IS NULL OR h.state = $5)
  AND ($6::text IS NULL OR h.collection = $6)
ORDER BY h.seq DESC, h.rid DESC, h.n DESC
LIMIT $7

-- name: together
-- The whole tx of one, in order.
SELECT h.rid, h.n, h.first, h.size, h.seq, h.person, h.collection, h.record_id, h.op, h.code, h.schema, h.time, h.state,
       h.made_at, h.ended_at, h.ended_by, h.ended_rid, h.ended_n, h.reason, r.kind, r.authority, l.payload
FROM held AS o
JOIN held AS h ON h.tenant_id = o.tenant_id AND h.rid = o.rid AND h.n >= o.first AND h.n < o.first + o.size
JOIN replicas AS r ON r.tenant_id = h.tenant_id AND r.rid = h.rid
JOIN ledger AS l ON l.tenant_id = h.tenant_id AND l.rid = h.rid AND l.n = h.n
WHERE o.tenant_id = $1 AND o.rid = $2 AND o.n = $3
ORDER BY h.n

-- name: discard
-- The whole tx of one.
UPDATE held AS h
SET state = 'discarded', ended_at = now(), ended_by = $4, reason = $5
FROM held AS o
WHERE o.tenant_id = $1 AND o.rid = $2 AND o.n = $3
  AND h.tenant_id = o.tenant_id AND h.rid = o.rid AND h.n >= o.first AND h.n < o.first + o.size
  AND h.state = 'waiting'
RETURNING h.rid, h.n
