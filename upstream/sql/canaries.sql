-- Records there that are read again and again.

-- name: put
-- Whoever puts one again takes what stands there for right.
INSERT INTO canaries (tenant_id, connection, object, remote_id, writes, every_seconds)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, connection, object) DO UPDATE
SET remote_id = excluded.remote_id, writes = excluded.writes, every_seconds = excluded.every_seconds, kept = NULL,
    kept_at = NULL, ways = NULL, findings = '[]', reason = '', asked_at = NULL, read_at = NULL, due_at = now()

-- name: remove
DELETE FROM canaries WHERE tenant_id = $1 AND connection = $2 AND object = $3
RETURNING object

-- name: listed
SELECT object, remote_id, writes, every_seconds, kept_at, read_at, findings, reason
FROM canaries
WHERE tenant_id = $1 AND connection = $2
ORDER BY object

-- name: due
-- Whoever takes one has it for $3 seconds.
UPDATE canaries SET due_at = now() + make_interval(secs => $3)
WHERE tenant_id = $1 AND connection = $2 AND due_at <= now()
RETURNING object, remote_id, writes, every_seconds, kept, ways, asked_at

-- name: told
-- What the system was told last of this record of it, and since it was asked for that has been done.
SELECT r.fields, r.locked OR r.voided AS closed, d.collection, d.record_id::text,
       r.confirmed_at > $5::timestamptz AS is_back
FROM remotes AS r
LEFT JOIN LATERAL (
  SELECT s.collection, s.record_id
  FROM deliveries AS s
  WHERE s.tenant_id = r.tenant_id AND s.connection = r.connection AND s.object = r.object AND s.key = r.key
  ORDER BY s.delivery_id DESC
  LIMIT 1
) AS d ON true
WHERE r.tenant_id = $1 AND r.connection = $2 AND r.object = $3 AND r.remote_id = $4

-- name: asked
UPDATE canaries SET asked_at = now(), due_at = now() + make_interval(secs => $5)
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: unread
UPDATE canaries SET reason = $5, due_at = now() + make_interval(secs => $6)
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: read
UPDATE canaries
SET kept = coalesce(kept, $5::text::jsonb), kept_at = coalesce(kept_at, now()), ways = $6::text::jsonb,
    findings = $7::text::jsonb, reason = '', asked_at = NULL, read_at = now(),
    due_at = now() + make_interval(secs => every_seconds)
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4
