-- What the worker does for each tenant. Each statement that takes rows away takes at most as many as
-- it is told, the oldest first, and passes over rows that somebody else is at.

-- name: due
-- $1 tenants · $2 tasks · $3 interval in seconds · $4 how many at most
-- In no order among equals, so that several workers begin at different ends.
SELECT t.tenant_id, w.task
FROM unnest($1::integer[]) AS t (tenant_id)
CROSS JOIN unnest($2::text[]) AS w (task)
LEFT JOIN upkeep AS u ON u.tenant_id = t.tenant_id AND u.task = w.task
WHERE u.done_at IS NULL OR u.done_at <= now() - make_interval(secs => $3)
ORDER BY u.done_at NULLS FIRST, random()
LIMIT $4

-- name: claim
-- A statement of its own: whether the task is still due is read only with the lock in hand.
SELECT pg_try_advisory_xact_lock($1, $2)

-- name: is_due
SELECT NOT EXISTS (
  SELECT FROM upkeep WHERE tenant_id = $1 AND task = $2 AND done_at > now() - make_interval(secs => $3)
)

-- name: done
INSERT INTO upkeep (tenant_id, task, done_at) VALUES ($1, $2, now())
ON CONFLICT (tenant_id, task) DO UPDATE SET done_at = excluded.done_at

-- name: prune_answers
WITH old AS (
  SELECT key
  FROM remembered
  WHERE tenant_id = $1 AND made_at < now() - make_interval(days => $2)
  ORDER BY made_at
  LIMIT $3
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM remembered AS r USING old WHERE r.tenant_id = $1 AND r.key = old.key RETURNING 1
)
SELECT count(*) FROM gone

-- name: prune_marks
-- Committers prune those of tenants that write; these are of tenants that have fallen silent.
WITH old AS (
  SELECT mark
  FROM marks
  WHERE tenant_id = $1 AND mark < $2::text::uuid
  ORDER BY mark
  LIMIT $3
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM marks AS m USING old WHERE m.tenant_id = $1 AND m.mark = old.mark RETURNING 1
)
SELECT count(*) FROM gone

-- name: prune_codes
WITH old AS (
  SELECT digest
  FROM enrolment_codes
  WHERE tenant_id = $1
    AND (expires_at < now() - make_interval(days => $2)
         OR (NOT reusable AND used_at < now() - make_interval(days => $2)))
  LIMIT $3
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM enrolment_codes AS c USING old WHERE c.tenant_id = $1 AND c.digest = old.digest RETURNING 1
)
SELECT count(*) FROM gone

-- name: prune_tokens
WITH old AS (
  SELECT digest
  FROM tokens
  WHERE tenant_id = $1 AND least(expires_at, revoked_at) < now() - make_interval(days => $2)
  LIMIT $3
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM tokens AS t USING old WHERE t.tenant_id = $1 AND t.digest = old.digest RETURNING 1
)
SELECT count(*) FROM gone

-- name: trim_ledger
-- A row whose payload is kept is what a person may still need: it stays. So does the last row that might
-- go, which tells at which place of the number line the proofs have to look for it.
WITH old AS (
  SELECT i.rid, i.n
  FROM seen_verdicts AS s
  CROSS JOIN LATERAL (
    SELECT l.rid, l.n
    FROM ledger AS l
    WHERE l.tenant_id = s.tenant_id AND l.rid = s.rid AND l.n < least(s.n, s.durable) AND l.payload IS NULL
    ORDER BY l.n
    LIMIT $2
  ) AS i
  WHERE s.tenant_id = $1
  LIMIT $2
), gone AS (
  DELETE FROM ledger AS l USING old WHERE l.tenant_id = $1 AND l.rid = old.rid AND l.n = old.n RETURNING 1
)
SELECT count(*) FROM gone

-- name: note_seen
-- $1 tenant · $2 rid · $3 n: up to where devices have their verdicts. It only grows. In one order,
-- so that two servers which store the same replicas never wait for each other.
INSERT INTO seen_verdicts AS s (tenant_id, rid, n)
SELECT g.* FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS g (tenant_id, rid, n)
ORDER BY g.tenant_id, g.rid
ON CONFLICT (tenant_id, rid) DO UPDATE SET n = excluded.n WHERE s.n < excluded.n
