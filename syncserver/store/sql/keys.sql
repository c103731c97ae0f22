-- What depends on which of the secret keys.

-- name: secrets
SELECT tenant_id, secret FROM signins WHERE tenant_id = ANY ($1::integer[]) ORDER BY tenant_id FOR UPDATE

-- name: put_secret
UPDATE signins SET secret = $2 WHERE tenant_id = $1

-- name: credentials
SELECT tenant_id, connection::text, secret FROM credentials
WHERE tenant_id = ANY ($1::integer[])
ORDER BY tenant_id, connection
FOR UPDATE

-- name: put_credentials
UPDATE credentials SET secret = $3 WHERE tenant_id = $1 AND connection = $2

-- name: hook_secrets
SELECT tenant_id, connection::text, secret_id::text, secret FROM hook_secrets
WHERE tenant_id = ANY ($1::integer[])
ORDER BY tenant_id, connection, secret_id
FOR UPDATE

-- name: put_hook_secret
UPDATE hook_secrets SET secret = $4 WHERE tenant_id = $1 AND connection = $2 AND secret_id = $3

-- name: endpoints
SELECT tenant_id, endpoint_id::text, secret FROM endpoints
WHERE tenant_id = ANY ($1::integer[])
ORDER BY tenant_id, endpoint_id
FOR UPDATE

-- name: put_endpoint
UPDATE endpoints SET secret = $3 WHERE tenant_id = $1 AND endpoint_id = $2

-- name: old_endpoints
SELECT tenant_id, endpoint_id::text, old_secret AS secret FROM endpoints
WHERE tenant_id = ANY ($1::integer[]) AND old_secret IS NOT NULL
ORDER BY tenant_id, endpoint_id
FOR UPDATE

-- name: put_old_endpoint
UPDATE endpoints SET old_secret = $3 WHERE tenant_id = $1 AND endpoint_id = $2

-- name: cursors
-- Devices by the key that sealed the cursor they were last given. One that was shut out pulls no more.
SELECT p.sealed_by, count(*)::integer AS devices, max(p.pulled_at) AS pulled_at
FROM positions AS p
JOIN replicas AS r ON r.tenant_id = p.tenant_id AND r.rid = p.rid
WHERE p.tenant_id = ANY ($1::integer[]) AND NOT r.fenced
GROUP BY p.sealed_by
ORDER BY p.sealed_by
