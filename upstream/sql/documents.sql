-- The OpenAPI documents that connections were given.

-- name: put
INSERT INTO documents (tenant_id, connection, version, digest, title, content, bytes, put_by)
VALUES ($1, $2, 1, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, connection)
DO UPDATE SET version = documents.version + 1, digest = excluded.digest, title = excluded.title,
              content = excluded.content, bytes = excluded.bytes, put_by = excluded.put_by, put_at = now()
WHERE documents.digest <> excluded.digest

-- name: shown
SELECT version, digest, title, bytes, put_by, put_at FROM documents WHERE tenant_id = $1 AND connection = $2

-- name: content
SELECT content FROM documents WHERE tenant_id = $1 AND connection = $2
