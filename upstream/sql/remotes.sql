-- What a system is known to have.

-- name: confirmed
-- $9 whether it was taken back.
INSERT INTO remotes AS r (
  tenant_id, connection, object, key, remote_id, remote_version, fields, confirmed_seq, confirmed_at, voided, lives
)
VALUES ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), $7::text::jsonb, $8, now(), $9, $9::boolean::integer)
ON CONFLICT (tenant_id, connection, object, key) DO UPDATE
SET remote_id = CASE WHEN excluded.voided THEN r.remote_id ELSE coalesce(excluded.remote_id, r.remote_id) END,
    remote_version = coalesce(excluded.remote_version, r.remote_version), fields = excluded.fields,
    confirmed_seq = greatest(r.confirmed_seq, excluded.confirmed_seq), confirmed_at = now(), voided = excluded.voided,
    lives = r.lives + excluded.lives

-- name: covered
-- A late object brought the object that it belongs to up to these fields.
INSERT INTO remotes AS r (tenant_id, connection, object, key, fields, confirmed_seq, confirmed_at, locked)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, now(), true)
ON CONFLICT (tenant_id, connection, object, key) DO UPDATE
SET fields = excluded.fields, confirmed_seq = greatest(r.confirmed_seq, excluded.confirmed_seq), confirmed_at = now()

-- name: get
SELECT g.object, g.key, r.remote_id, r.remote_version, r.fields, r.confirmed_seq, r.voided, r.lives, r.locked
FROM unnest($3::text[], $4::text[]) AS g (object, key)
CROSS JOIN LATERAL (
  SELECT *
  FROM remotes AS s
  WHERE s.tenant_id = $1 AND s.connection = $2 AND s.object = g.object AND s.key = g.key
  OFFSET 0
) AS r

-- name: ids
-- The ids there of records of ours, by the key that is the record's own id.
SELECT r.key, r.object, r.remote_id
FROM unnest($3::text[]) AS g (key)
CROSS JOIN LATERAL (
  SELECT * FROM remotes AS s WHERE s.tenant_id = $1 AND s.connection = $2 AND s.key = g.key OFFSET 0
) AS r
WHERE r.remote_id IS NOT NULL AND NOT r.voided

-- name: by_remote_id
SELECT object, key, remote_id, remote_version, fields, confirmed_seq, voided, lives, locked
FROM remotes
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: link
-- Nothing comes back if the id is that of another object, or another id is known for this one.
INSERT INTO remotes AS r (tenant_id, connection, object, key, remote_id, remote_version)
SELECT $1, $2, $3, $4, $5, nullif($6, '')
WHERE NOT EXISTS (
  SELECT FROM remotes AS o
  WHERE o.tenant_id = $1 AND o.connection = $2 AND o.object = $3 AND o.remote_id = $5 AND (o.key = $4) IS FALSE
)
ON CONFLICT (tenant_id, connection, object, key) DO UPDATE
SET remote_id = excluded.remote_id, remote_version = coalesce(excluded.remote_version, r.remote_version), voided = false
WHERE r.remote_id IS NULL OR r.remote_id = excluded.remote_id OR r.voided
RETURNING key

-- name: lock
INSERT INTO remotes AS r (tenant_id, connection, object, key, locked, locked_reason)
VALUES ($1, $2, $3, $4, true, $5)
ON CONFLICT (tenant_id, connection, object, key) DO UPDATE SET locked = true, locked_reason = excluded.locked_reason

-- name: close
INSERT INTO closures (tenant_id, connection, object, period, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

-- name: closed
SELECT period FROM closures WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND period = ANY ($4::text[])

-- name: next_open
-- The first of these periods, in their order, that is not closed.
SELECT g.period
FROM unnest($4::text[]) WITH ORDINALITY AS g (period, place)
WHERE NOT EXISTS (
  SELECT FROM closures AS c WHERE c.tenant_id = $1 AND c.connection = $2 AND c.object = $3 AND c.period = g.period
)
ORDER BY g.place
LIMIT 1
