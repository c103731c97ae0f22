-- What became of records at the systems: their receipts.

-- name: connections
-- Those that want to be told of a collection, and those that were told of the record before.
SELECT c.connection::text
FROM connections AS c
WHERE c.tenant_id = $1 AND (
  EXISTS (SELECT FROM interests AS i WHERE i.tenant_id = $1 AND i.collection = $2 AND i.connection = c.connection)
  OR EXISTS (
    SELECT FROM deliveries AS d
    WHERE d.tenant_id = $1 AND d.collection = $2 AND d.record_id = $3 AND d.connection = c.connection
  )
)
ORDER BY c.name

-- name: objects
-- Of each object (object, key) the newest delivery that counts; what was overtaken counts where nothing else is.
-- An object that is closed there is told by late ones: each of those is one more.
SELECT d.connection::text, d.delivery_id::text, d.object, d.key, d.action, d.state, d.mode, d.marked_at, d.due_at,
       d.first_sent_at, d.ended_at, d.remote_id, d.error_class, d.error_code, d.error_message, d.late_object IS NOT NULL AS late
FROM unnest($3::text[], $4::text[]) AS g (object, key)
CROSS JOIN LATERAL (
  (
    SELECT *
    FROM deliveries AS s
    WHERE s.tenant_id = $1 AND s.connection = $2 AND s.object = g.object AND s.key = g.key
    ORDER BY s.state = 'superseded', s.seen_seq DESC, s.delivery_id DESC
    LIMIT 1
  )
  UNION ALL
  (
    SELECT *
    FROM deliveries AS l
    WHERE l.tenant_id = $1 AND l.connection = $2 AND l.late_object = g.object AND l.late_key = g.key
      AND l.state <> 'superseded'
    ORDER BY l.seen_seq DESC, l.delivery_id DESC
    LIMIT $5
  )
) AS d

-- name: own
-- Which objects were made of the record itself.
SELECT DISTINCT object, key
FROM deliveries
WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4 AND late_object IS NULL
LIMIT $5

-- name: waits
SELECT marked_at, due_at, attempts, reason
FROM outbox
WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4
