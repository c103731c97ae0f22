-- Replicas, and how a device becomes one.

-- name: create_tenant
INSERT INTO tenants (name) VALUES ($1) RETURNING tenant_id

-- name: create_counters
INSERT INTO counters (tenant_id, hub_rid, last_rid) VALUES ($1, $2, $2)

-- name: next_rid
UPDATE counters SET last_rid = last_rid + 1 WHERE tenant_id = $1 RETURNING last_rid

-- name: find_replica
SELECT rid FROM replicas WHERE tenant_id = $1 AND handle = $2

-- name: create_replica
-- Nothing comes back if somebody else made the replica of this handle a moment ago.
INSERT INTO replicas (tenant_id, rid, kind, authority, handle, person, label, platform)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, handle) DO NOTHING
RETURNING replica::text AS replica

-- name: revoke_tokens
-- Refresh tokens of a replica go with its access tokens.
UPDATE tokens SET revoked_at = now() WHERE tenant_id = $1 AND rid = $2 AND revoked_at IS NULL

-- name: create_code
INSERT INTO enrolment_codes (tenant_id, digest, person, reusable, expires_at)
SELECT p.tenant_id, $2, p.person, $4, now() + make_interval(secs => $5::double precision)
FROM persons AS p
WHERE p.tenant_id = $1 AND p.person = $3 AND p.removed_at IS NULL AND p.role = 'technician'
RETURNING person

-- name: use_code
UPDATE enrolment_codes AS c
SET used_at = now()
FROM persons AS p
WHERE c.tenant_id = $1 AND c.digest = $2 AND (c.reusable OR c.used_at IS NULL)
  AND (c.expires_at IS NULL OR c.expires_at > now())
  AND p.tenant_id = c.tenant_id AND p.person = c.person AND p.removed_at IS NULL
  AND p.role = 'technician'
RETURNING p.person

-- name: share
INSERT INTO replica_persons (tenant_id, rid, person) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: persons_of
SELECT r.person FROM replicas AS r WHERE r.tenant_id = $1 AND r.rid = $2
UNION
SELECT s.person FROM replica_persons AS s WHERE s.tenant_id = $1 AND s.rid = $2

-- name: fence
UPDATE replicas SET fenced = $3 WHERE tenant_id = $1 AND rid = $2 RETURNING replica::text AS replica

-- name: listed
SELECT r.rid, r.replica::text AS replica, r.kind, r.authority, r.person, p.name AS person_name, r.label, r.platform,
       r.applied, r.fenced, r.created_at, r.pushed_at, q.pulled_at, q.seq AS position, c.seq AS newest
FROM replicas AS r
JOIN counters AS c ON c.tenant_id = r.tenant_id
LEFT JOIN positions AS q ON q.tenant_id = r.tenant_id AND q.rid = r.rid
LEFT JOIN persons AS p ON p.tenant_id = r.tenant_id AND p.person = r.person
WHERE r.tenant_id = $1
ORDER BY r.rid
