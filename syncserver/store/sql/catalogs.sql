-- The catalogues of a tenant. All versions are kept: verdicts name the one they were given by.

-- name: current
SELECT c.catalog_version AS version, g.hash, CASE WHEN g.version = ANY ($2::integer[]) THEN NULL ELSE g.content END AS content
FROM counters AS c
LEFT JOIN catalogs AS g ON g.tenant_id = c.tenant_id AND g.version = c.catalog_version
WHERE c.tenant_id = $1

-- name: add
INSERT INTO catalogs (tenant_id, version, hash, content, from_seq)
SELECT c.tenant_id, c.catalog_version + 1, $2, $3, c.seq
FROM counters AS c
WHERE c.tenant_id = $1
RETURNING version

-- name: choose
UPDATE counters SET catalog_version = $2 WHERE tenant_id = $1
