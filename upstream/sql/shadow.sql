-- What was recorded and not sent, and going live.

-- name: open
-- Deliveries of the present version of the mapping count; earlier ones were what made it change.
SELECT object, key, state, error_class, error_message, mapping_version
FROM deliveries
WHERE tenant_id = $1 AND connection = $2 AND mode = 'shadow' AND mapping_version = $3
ORDER BY made_at DESC, delivery_id DESC
LIMIT $4

-- name: go_live
UPDATE connections SET mode = 'live' WHERE tenant_id = $1 AND connection = $2

-- name: recorded_records
-- The records that deliveries were recorded of, after a place, in order.
SELECT DISTINCT collection, record_id::text
FROM deliveries
WHERE tenant_id = $1 AND connection = $2 AND mode = 'shadow' AND (collection, record_id::text) > ($3, $4)
ORDER BY 1, 2
LIMIT $5

-- name: lock
SELECT mapping_version, mode, state, state_reason FROM connections WHERE tenant_id = $1 AND connection = $2 FOR UPDATE
