-- Answers under the key that a caller chose.

-- name: found
SELECT request_hash, verdict FROM remembered WHERE tenant_id = $1 AND key = $2

-- name: keep
INSERT INTO remembered (tenant_id, key, request_hash, verdict) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
