-- Tenants, their people and their tokens.

-- name: tenants
SELECT tenant_id, name FROM tenants ORDER BY tenant_id

-- name: put_person
INSERT INTO persons (tenant_id, person, name, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, person) DO UPDATE SET name = excluded.name, role = excluded.role

-- name: persons
SELECT person, name, role FROM persons WHERE tenant_id = $1 ORDER BY name, person

-- name: create_token
-- A token takes the role of its person unless another is given.
INSERT INTO tokens (tenant_id, digest, kind, person, role, rid, expires_at)
SELECT p.tenant_id, $2, $3, p.person, coalesce($5, p.role), $6::integer, now() + make_interval(secs => $7::double precision)
FROM persons AS p
WHERE p.tenant_id = $1 AND p.person = $4
RETURNING role

-- name: find_token
SELECT t.person, t.role, t.rid, coalesce(r.fenced, false) AS fenced, t.expires_at
FROM tokens AS t
LEFT JOIN replicas AS r ON r.tenant_id = t.tenant_id AND r.rid = t.rid
WHERE t.tenant_id = $1 AND t.digest = $2 AND t.kind = $3 AND t.revoked_at IS NULL
  AND (t.expires_at IS NULL OR t.expires_at > now())
