-- What tenants want to be told at their own addresses, and what they were told.

-- name: add
INSERT INTO endpoints (tenant_id, endpoint_id, url, description, types, secret) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, endpoint_id) DO NOTHING

-- name: count
SELECT count(*) FROM endpoints WHERE tenant_id = $1

-- name: start
-- From here on: what was before the first endpoint is told to nobody.
INSERT INTO message_positions (tenant_id, changes_seq, conflict_seq, connections)
SELECT c.tenant_id, c.seq, c.seq,
       (SELECT coalesce(jsonb_object_agg(n.connection, n.state), '{}')::text FROM connections AS n WHERE n.tenant_id = $1)
FROM counters AS c
WHERE c.tenant_id = $1 AND NOT EXISTS (SELECT FROM endpoints AS e WHERE e.tenant_id = $1 AND e.state = 'on' AND e.endpoint_id <> $2)
ON CONFLICT (tenant_id) DO UPDATE
SET changes_seq = excluded.changes_seq, conflict_seq = excluded.conflict_seq, connections = excluded.connections

-- name: listed
SELECT endpoint_id::text, url, description, types, state, reason, failing_since, created_at, old_until
FROM endpoints
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR endpoint_id = $2)
ORDER BY endpoint_id

-- name: change
UPDATE endpoints
SET url = coalesce($3, url), description = coalesce($4, description), types = coalesce($5, types),
    state = coalesce($6, state), reason = CASE WHEN $6::text IS NULL THEN reason ELSE '' END,
    failing_since = CASE WHEN $6::text IS NULL THEN failing_since END
WHERE tenant_id = $1 AND endpoint_id = $2
RETURNING endpoint_id

-- name: remove
DELETE FROM endpoints WHERE tenant_id = $1 AND endpoint_id = $2 RETURNING endpoint_id

-- name: rotate
UPDATE endpoints SET old_secret = secret, old_until = now() + make_interval(secs => $4), secret = $3
WHERE tenant_id = $1 AND endpoint_id = $2
RETURNING endpoint_id

-- name: secret
SELECT secret FROM endpoints WHERE tenant_id = $1 AND endpoint_id = $2

-- name: with_endpoints
SELECT DISTINCT tenant_id FROM endpoints WHERE tenant_id = ANY ($1::integer[]) AND state = 'on'

-- name: claim
-- One worker at a time makes messages of what happened in a tenant.
SELECT pg_try_advisory_xact_lock($1, $2)

-- name: position
SELECT changes_seq, conflict_seq, connections, now() AS at FROM message_positions WHERE tenant_id = $1

-- name: move
UPDATE message_positions SET changes_seq = $2, conflict_seq = $3, connections = $4 WHERE tenant_id = $1

-- name: subscribers
SELECT endpoint_id::text, types FROM endpoints WHERE tenant_id = $1 AND state = 'on'

-- name: changes
-- A tenant's numbers are given under its lock, so what has a higher one is never seen before a lower one.
SELECT seq, collection, record_id::text, op, authority, person, received_at, convert_from(state, 'UTF8') AS state
FROM changes
WHERE tenant_id = $1 AND seq > $2
ORDER BY seq
LIMIT $3

-- name: conflicts
-- A conflict takes no number of its own: those at the position itself are read again, and are told once. However
-- many have the same number, all of them are read, or those behind would never be.
SELECT seq, conflict_id, collection, record_id::text, cell, rule, state, made_at
FROM conflicts
WHERE tenant_id = $1 AND seq = $2
UNION ALL (
  SELECT seq, conflict_id, collection, record_id::text, cell, rule, state, made_at
  FROM conflicts
  WHERE tenant_id = $1 AND seq > $2
  ORDER BY seq
  FETCH FIRST $3 ROWS WITH TIES
)

-- name: dead
-- Deliveries that wait for a person, of the last days: by what their messages are known.
SELECT delivery_id::text, state, tried
FROM deliveries
WHERE tenant_id = $1 AND (state = 'rejected' OR (state = 'unknown' AND due_at IS NULL)) AND mode = 'live'
  AND coalesce(ended_at, last_sent_at, made_at) > now() - make_interval(days => $2)
ORDER BY delivery_id

-- name: told
SELECT message_id::text FROM messages WHERE tenant_id = $1 AND message_id = ANY ($2::uuid[])

-- name: dead_ones
SELECT delivery_id::text, connection::text, object, key, collection, record_id::text, state, tried, error_class,
       error_code, error_message
FROM deliveries
WHERE tenant_id = $1 AND delivery_id = ANY ($2::uuid[])

-- name: connections
SELECT connection::text, system, name, state, state_reason FROM connections WHERE tenant_id = $1

-- name: put
WITH made AS (
  INSERT INTO messages (tenant_id, message_id, type, body)
  SELECT $1, g.message_id, g.type, g.body
  FROM unnest($2::uuid[], $3::text[], $4::text[]) AS g (message_id, type, body)
  ON CONFLICT DO NOTHING
  RETURNING message_id
)
SELECT message_id::text FROM made

-- name: post
INSERT INTO postings (tenant_id, endpoint_id, message_id)
SELECT $1, g.endpoint_id, g.message_id
FROM unnest($2::uuid[], $3::uuid[]) AS g (endpoint_id, message_id)
ON CONFLICT DO NOTHING

-- name: lease
-- $1 tenants, $2 how many of each, $3 how many of all, $4 how many of one endpoint with those under way ($5) · $6 who,
-- $7 for how many seconds; $8 of endpoints that fail, or of the others. Tenants and endpoints have their turns by
-- chance, and of each the oldest come first: what waits for one keeps no other waiting.
WITH next AS MATERIALIZED (
  SELECT s.tenant_id, s.endpoint_id, s.message_id
  FROM (
    SELECT g.tenant_id, g.room FROM unnest($1::integer[], $2::integer[]) AS g (tenant_id, room) ORDER BY random()
  ) AS t
  CROSS JOIN LATERAL (
    SELECT s.tenant_id, s.endpoint_id, s.message_id
    FROM (
      SELECT o.tenant_id, o.endpoint_id,
             $4::bigint - (SELECT count(*) FROM unnest($5::uuid[]) AS b (taken) WHERE b.taken = o.endpoint_id) AS room
      FROM endpoints AS o
      WHERE o.tenant_id = t.tenant_id AND o.state = 'on' AND (o.failing_since IS NOT NULL) = $8
      ORDER BY random()
    ) AS e
    CROSS JOIN LATERAL (
      SELECT p.tenant_id, p.endpoint_id, p.message_id
      FROM postings AS p
      WHERE p.tenant_id = e.tenant_id AND p.endpoint_id = e.endpoint_id AND p.state = 'waiting' AND p.due_at <= now()
        AND (p.leased_until IS NULL OR p.leased_until < now())
      ORDER BY p.due_at
      LIMIT greatest(e.room, 0)
      FOR UPDATE SKIP LOCKED
    ) AS s
    LIMIT t.room
  ) AS s
  LIMIT $3
)
UPDATE postings AS p
SET leased_by = $6::uuid, leased_until = now() + make_interval(secs => $7), tries = p.tries + 1
FROM next AS w
JOIN endpoints AS e ON e.tenant_id = w.tenant_id AND e.endpoint_id = w.endpoint_id
JOIN messages AS m ON m.tenant_id = w.tenant_id AND m.message_id = w.message_id
WHERE p.tenant_id = w.tenant_id AND p.endpoint_id = w.endpoint_id AND p.message_id = w.message_id
RETURNING p.tenant_id, p.endpoint_id::text, p.message_id::text, p.tries, m.type, m.body, e.url, e.secret,
          CASE WHEN e.old_until > now() THEN e.old_secret END AS old_secret

-- name: attempted
INSERT INTO message_attempts (tenant_id, endpoint_id, message_id, n, status, reply, took_ms)
SELECT $1, $2, $3, coalesce(max(n), 0) + 1, $4, $5, $6
FROM message_attempts
WHERE tenant_id = $1 AND endpoint_id = $2 AND message_id = $3

-- name: ended
UPDATE postings
SET state = $5, due_at = now() + make_interval(secs => $6), leased_by = NULL, leased_until = NULL,
    ended_at = CASE WHEN $5 <> 'waiting' THEN now() END
WHERE tenant_id = $1 AND endpoint_id = $2 AND message_id = $3 AND leased_by = $4
RETURNING message_id

-- name: arrived
UPDATE endpoints SET failing_since = NULL WHERE tenant_id = $1 AND endpoint_id = $2 AND failing_since IS NOT NULL

-- name: missed
UPDATE endpoints SET failing_since = coalesce(failing_since, now())
WHERE tenant_id = $1 AND endpoint_id = $2
RETURNING extract(epoch FROM now() - failing_since)::bigint AS seconds

-- name: disable
UPDATE endpoints SET state = 'disabled', reason = $3
WHERE tenant_id = $1 AND endpoint_id = $2 AND state = 'on'
RETURNING url

-- name: messages
SELECT m.message_id::text, m.type, m.made_at, p.state, p.tries, p.due_at, p.ended_at
FROM postings AS p
JOIN messages AS m ON m.tenant_id = p.tenant_id AND m.message_id = p.message_id
WHERE p.tenant_id = $1 AND p.endpoint_id = $2 AND ($3::text IS NULL OR p.state = $3)
ORDER BY m.made_at DESC, m.message_id
LIMIT $4

-- name: attempts
SELECT n, at, status, reply, took_ms
FROM message_attempts
WHERE tenant_id = $1 AND endpoint_id = $2 AND message_id = $3
ORDER BY n

-- name: in_range
SELECT message_id::text, type, body
FROM messages
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR message_id = $2)
  AND ($3::timestamptz IS NULL OR made_at >= $3) AND ($4::timestamptz IS NULL OR made_at < $4)
ORDER BY made_at
LIMIT $5

-- name: repeat
INSERT INTO postings AS p (tenant_id, endpoint_id, message_id)
SELECT $1, $2, g.message_id FROM unnest($3::uuid[]) AS g (message_id)
ON CONFLICT (tenant_id, endpoint_id, message_id) DO UPDATE
SET state = 'waiting', tries = 0, due_at = now(), ended_at = NULL, leased_by = NULL, leased_until = NULL
RETURNING message_id

-- name: prune
DELETE FROM messages
WHERE tenant_id = $1 AND message_id IN (
  SELECT m.message_id
  FROM messages AS m
  WHERE m.tenant_id = $1 AND m.made_at < now() - make_interval(days => $2)
    AND NOT EXISTS (
      SELECT FROM postings AS p WHERE p.tenant_id = $1 AND p.message_id = m.message_id AND p.state = 'waiting'
    )
  LIMIT $3
)

-- name: clock
SELECT now()

-- name: notify
SELECT pg_notify('fieldsync_work', $1)
