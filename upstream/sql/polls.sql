-- Polling: where it stands for each object, and how often.

-- name: begin
-- Objects that are asked for get a row each; those that are not any more lose theirs.
WITH wanted AS (
  SELECT g.object FROM unnest($3::text[]) AS g (object)
), gone AS (
  DELETE FROM polls WHERE tenant_id = $1 AND connection = $2 AND object <> ALL ($3::text[])
)
INSERT INTO polls (tenant_id, connection, object)
SELECT $1, $2, w.object FROM wanted AS w
ON CONFLICT DO NOTHING

-- name: lease
-- $1 tenants, $2 how many of each, $3 how many of all, $4 how many of one connection with those under way ($5) · $6
-- who, $7 for how many seconds. Tenants and connections have their turns by chance.
WITH next AS MATERIALIZED (
  SELECT s.tenant_id, s.connection, s.object
  FROM (
    SELECT g.tenant_id, g.room FROM unnest($1::integer[], $2::integer[]) AS g (tenant_id, room) ORDER BY random()
  ) AS t
  CROSS JOIN LATERAL (
    SELECT s.tenant_id, s.connection, s.object
    FROM (
      SELECT o.tenant_id, o.connection,
             $4::bigint - (SELECT count(*) FROM unnest($5::uuid[]) AS b (taken) WHERE b.taken = o.connection) AS room
      FROM connections AS o
      WHERE o.tenant_id = t.tenant_id AND o.state = 'ok'
      ORDER BY random()
    ) AS c
    CROSS JOIN LATERAL (
      SELECT p.tenant_id, p.connection, p.object
      FROM polls AS p
      WHERE p.tenant_id = c.tenant_id AND p.connection = c.connection AND p.due_at <= now()
        AND (p.leased_until IS NULL OR p.leased_until < now())
      ORDER BY p.due_at
      LIMIT greatest(c.room, 0)
      FOR UPDATE SKIP LOCKED
    ) AS s
    LIMIT t.room
  ) AS s
  LIMIT $3
)
UPDATE polls AS p
SET leased_by = $6::uuid, leased_until = now() + make_interval(secs => $7)
FROM next AS w
WHERE p.tenant_id = w.tenant_id AND p.connection = w.connection AND p.object = w.object
RETURNING p.tenant_id, p.connection::text, p.object, p.since, p.due_at, p.polled_at, p.hooked_at, p.misses, p.is_quiet,
          p.failures, clock_timestamp() AS asked_at

-- name: has_hooks
SELECT EXISTS (
  SELECT FROM hook_secrets
  WHERE tenant_id = $1 AND connection = $2 AND state = 'active' AND (ends_at IS NULL OR ends_at > now())
)

-- name: unpolled
-- Connections whose objects may have to be polled and have no row yet.
SELECT c.tenant_id, c.connection::text
FROM connections AS c
WHERE c.tenant_id = ANY ($1::integer[]) AND c.state = 'ok' AND c.mapping_version IS NOT NULL

-- name: holds
-- The time, if the lease is still held; it begins anew.
UPDATE polls SET leased_until = now() + make_interval(secs => $5)
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND leased_by = $4 AND leased_until > now()
RETURNING clock_timestamp()

-- name: known
-- Which of these states a webhook has told already, or a poll before.
SELECT g.event
FROM unnest($4::text[], $5::text[], $6::text[]) AS g (event, remote_id, version)
LEFT JOIN sightings AS s
  ON s.tenant_id = $1 AND s.connection = $2 AND s.object = $3 AND s.remote_id = g.remote_id
WHERE (s.version = g.version AND g.version <> '')
   OR EXISTS (SELECT FROM inbox AS i WHERE i.tenant_id = $1 AND i.connection = $2 AND i.event = g.event)
   OR EXISTS (
     SELECT FROM inbox AS i
     WHERE i.tenant_id = $1 AND i.connection = $2 AND i.object = $3 AND i.remote_id = g.remote_id AND i.state = 'waiting'
       AND i.source = 'hook'
   )

-- name: done
-- $5 the new position, empty to leave it; $6 in how many seconds again; $7 whether it found what no webhook had
-- brought; $8 misses, unless a webhook ($9: when the last one came that was known of) has come meanwhile; $10 quiet;
-- $11, $12 position and time as they were leased: what a person has asked for meanwhile stays.
UPDATE polls
SET since = CASE WHEN since IS DISTINCT FROM $11 THEN since ELSE coalesce($5::timestamptz, since) END,
    due_at = CASE WHEN due_at = $12 THEN now() + make_interval(secs => $6) ELSE due_at END, polled_at = now(), failures = 0,
    reason = '', brought_at = CASE WHEN $7 THEN now() ELSE brought_at END,
    misses = CASE WHEN hooked_at IS DISTINCT FROM $9 THEN 0 ELSE $8 END,
    is_quiet = $10 AND hooked_at IS NOT DISTINCT FROM $9, leased_by = NULL, leased_until = NULL
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND leased_by = $4 AND leased_until > now()
RETURNING object

-- name: failed
UPDATE polls
SET due_at = now() + make_interval(secs => $5), failures = failures + 1, reason = $6, leased_by = NULL, leased_until = NULL
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND leased_by = $4

-- name: listed
SELECT object, since, due_at, polled_at, brought_at, hooked_at, is_quiet, failures, reason
FROM polls
WHERE tenant_id = $1 AND connection = $2
ORDER BY object

-- name: now
-- Poll at the next look; $4 from when, empty to go on where it stands. What is yet to come is no place to go on from.
UPDATE polls SET due_at = now(), since = CASE WHEN $4::timestamptz IS NULL THEN since ELSE least($4, now()) END
WHERE tenant_id = $1 AND connection = $2 AND ($3::text IS NULL OR object = $3)
RETURNING object
