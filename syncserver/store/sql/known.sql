-- name: known
-- Which of these records has the hub ever heard of, alive or deleted?
SELECT record_id::text
FROM records
WHERE tenant_id = $1 AND collection = $2 AND record_id = ANY ($3::uuid[])
