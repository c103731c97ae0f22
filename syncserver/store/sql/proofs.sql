-- Which entries no version vector needs any more.

-- name: held
SELECT vector FROM proofs WHERE tenant_id = $1

-- name: provable
-- For each replica the newest mutation that is in every backup and that all devices have read past.
-- A device that has never pulled stands at 0. Where there is no device nobody is waited for.
WITH read_past AS (
  SELECT coalesce(
    (
      SELECT min(coalesce(p.seq, 0))
      FROM replicas AS r
      LEFT JOIN positions AS p ON p.tenant_id = r.tenant_id AND p.rid = r.rid
      WHERE r.tenant_id = $1 AND r.kind = 'device' AND NOT r.fenced
    ),
    c.seq
  ) AS seq
  FROM counters AS c
  WHERE c.tenant_id = $1
)
SELECT s.rid, l.n
FROM seen_verdicts AS s
CROSS JOIN read_past AS p
CROSS JOIN LATERAL (
  SELECT i.n
  FROM ledger AS i
  WHERE i.tenant_id = s.tenant_id AND i.rid = s.rid AND i.n <= s.durable AND i.seq <= p.seq
  ORDER BY i.n DESC
  LIMIT 1
) AS l
WHERE s.tenant_id = $1 AND s.durable > 0

-- name: keep
INSERT INTO proofs (tenant_id, vector) VALUES ($1, $2)
ON CONFLICT (tenant_id) DO UPDATE SET vector = excluded.vector, made_at = now()
