-- Tenants, their people and their tokens.

-- name: tenants
SELECT tenant_id, name FROM tenants ORDER BY tenant_id

-- name: put_person
-- Somebody who left and is made known again may come back. Unless $5, nobody gets another name or role.
INSERT INTO persons AS p (tenant_id, person, name, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, person) DO UPDATE SET name = excluded.name, role = excluded.role, removed_at = NULL
WHERE $5 OR (p.name = excluded.name AND p.role = excluded.role)
RETURNING person

-- name: greet
-- A sign-in brings name and role up to date, but nobody back who was removed.
INSERT INTO persons AS p (tenant_id, person, name, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, person) DO UPDATE SET name = excluded.name, role = excluded.role
WHERE p.removed_at IS NULL
RETURNING person

-- name: person
SELECT person, name, role, removed_at FROM persons WHERE tenant_id = $1 AND person = $2

-- name: persons
SELECT person, name, role, removed_at FROM persons WHERE tenant_id = $1 ORDER BY name, person

-- name: remove_person
UPDATE persons SET removed_at = now() WHERE tenant_id = $1 AND person = $2 AND removed_at IS NULL RETURNING person

-- name: void_tokens
-- Tokens of the person's devices stay known: those devices are shut out and told so.
UPDATE tokens SET revoked_at = now() WHERE tenant_id = $1 AND person = $2 AND rid IS NULL AND revoked_at IS NULL

-- name: void_codes
UPDATE enrolment_codes SET expires_at = now()
WHERE tenant_id = $1 AND person = $2 AND (expires_at IS NULL OR expires_at > now())

-- name: shut_out
UPDATE replicas SET fenced = true
WHERE tenant_id = $1 AND person = $2 AND kind = 'device' AND NOT fenced
RETURNING replica::text AS replica

-- name: create_token
-- A token takes the role of its person unless another is given.
INSERT INTO tokens (tenant_id, digest, kind, person, role, rid, expires_at)
SELECT p.tenant_id, $2, $3, p.person, coalesce($5, p.role), $6::integer, now() + make_interval(secs => $7::double precision)
FROM persons AS p
WHERE p.tenant_id = $1 AND p.person = $4 AND p.removed_at IS NULL
RETURNING role

-- name: find_token
SELECT t.kind, t.person, t.role, t.rid, coalesce(r.fenced, false) AS fenced, t.expires_at
FROM tokens AS t
LEFT JOIN replicas AS r ON r.tenant_id = t.tenant_id AND r.rid = t.rid
WHERE t.tenant_id = $1 AND t.digest = $2 AND t.kind = ANY ($3::text[]) AND t.revoked_at IS NULL
  AND (t.expires_at IS NULL OR t.expires_at > now())

-- name: tokens
-- Those that open something, or did until lately ($2: seconds); a device has two, of which one refreshes the other.
SELECT t.digest, t.kind, t.person, p.name, t.role, t.rid, t.created_at, t.expires_at, t.revoked_at
FROM tokens AS t
JOIN persons AS p ON p.tenant_id = t.tenant_id AND p.person = t.person
WHERE t.tenant_id = $1
  AND coalesce(least(t.revoked_at, t.expires_at), now()) >= now() - make_interval(secs => $2::double precision)
ORDER BY t.created_at, t.digest

-- name: tokens_like
SELECT digest FROM tokens WHERE tenant_id = $1 AND encode(digest, 'hex') LIKE $2 || '%' LIMIT 2

-- name: revoke_token
UPDATE tokens SET revoked_at = now() WHERE tenant_id = $1 AND digest = $2 AND revoked_at IS NULL RETURNING person
