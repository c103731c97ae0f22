-- name: standing
SELECT r.applied, coalesce(p.seq, 0) AS position, c.seq, r.fenced
FROM replicas AS r
JOIN counters AS c ON c.tenant_id = r.tenant_id
LEFT JOIN positions AS p ON p.tenant_id = r.tenant_id AND p.rid = r.rid
WHERE r.tenant_id = $1 AND r.rid = $2

-- name: lags
-- The age of the first change after a device's position. Whether it concerns the device is not
-- asked: a pull moves the position past what does not.
SELECT r.tenant_id, r.rid, extract(epoch FROM now() - c.received_at)::double precision AS seconds
FROM replicas AS r
JOIN positions AS p ON p.tenant_id = r.tenant_id AND p.rid = r.rid
CROSS JOIN LATERAL (
  SELECT received_at
  FROM changes
  WHERE tenant_id = r.tenant_id AND seq > p.seq
  ORDER BY seq
  LIMIT 1
) AS c
WHERE r.tenant_id = ANY ($1::integer[]) AND r.kind = 'device' AND NOT r.fenced
  AND p.pulled_at > now() - make_interval(secs => $2)
