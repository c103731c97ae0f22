-- name: standing
SELECT r.applied, coalesce(p.seq, 0) AS position, c.seq, r.fenced
FROM replicas AS r
JOIN counters AS c ON c.tenant_id = r.tenant_id
LEFT JOIN positions AS p ON p.tenant_id = r.tenant_id AND p.rid = r.rid
WHERE r.tenant_id = $1 AND r.rid = $2
