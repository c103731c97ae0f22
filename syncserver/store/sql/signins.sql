-- Where the people of a tenant sign in.

-- name: put
INSERT INTO signins (tenant_id, issuer, client_id, secret, config) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id) DO UPDATE
SET issuer = excluded.issuer, client_id = excluded.client_id, secret = excluded.secret, config = excluded.config,
    changed_at = now()

-- name: find
SELECT issuer, client_id, secret, config, changed_at FROM signins WHERE tenant_id = $1

-- name: remove
DELETE FROM signins WHERE tenant_id = $1 RETURNING tenant_id

-- name: end_sessions
UPDATE tokens SET revoked_at = now() WHERE tenant_id = $1 AND kind = 'session' AND revoked_at IS NULL
