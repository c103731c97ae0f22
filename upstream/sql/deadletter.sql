-- Dead letters: what people do about deliveries that were given up, or of which nobody knows what became.

-- name: lock
SELECT delivery_id::text, connection::text, object, key, collection, record_id::text, seen_seq, action, lane, state, mode,
       idempotency_key::text, marker, fields, late_object, late_key, covers, due_at, remote_id, remote_version,
       error_class, error_code
FROM deliveries
WHERE tenant_id = $1 AND delivery_id = $2
FOR UPDATE

-- name: overtaken
-- The newest delivery of the same key that knows more, and is not given up itself.
SELECT o.delivery_id::text
FROM deliveries AS d
JOIN deliveries AS o ON o.tenant_id = d.tenant_id AND o.connection = d.connection AND o.object = d.object AND o.key = d.key
WHERE d.tenant_id = $1 AND d.delivery_id = $2 AND o.mode = 'live' AND o.state NOT IN ('superseded', 'rejected')
  AND (o.seen_seq, o.delivery_id) > (d.seen_seq, d.delivery_id)
ORDER BY o.seen_seq DESC, o.delivery_id DESC
LIMIT 1

-- name: moved
-- Whether the system itself has changed the record since this was made.
SELECT EXISTS (
  SELECT FROM deliveries AS d
  JOIN changes AS c ON c.tenant_id = d.tenant_id AND c.collection = d.collection AND c.record_id = d.record_id
  WHERE d.tenant_id = $1 AND d.delivery_id = $2 AND c.seq > d.seen_seq
    AND c.rid = (SELECT k.rid FROM connections AS k WHERE k.tenant_id = $1 AND k.connection = d.connection)
)

-- name: edit
UPDATE deliveries SET fields = $3::text::jsonb WHERE tenant_id = $1 AND delivery_id = $2

-- name: again
-- $3 the state to begin from, $4 the key under which it is sent.
UPDATE deliveries
SET state = $3, idempotency_key = $4::uuid, due_at = now(), ended_at = NULL, reads = 0, conflicts = 0, taken_up_at = now(),
    leased_by = NULL, leased_until = NULL, error_class = '', error_code = '', error_message = ''
WHERE tenant_id = $1 AND delivery_id = $2

-- name: drop
UPDATE deliveries SET state = 'superseded', due_at = NULL, ended_at = now() WHERE tenant_id = $1 AND delivery_id = $2

-- name: done
UPDATE deliveries
SET state = 'confirmed', due_at = NULL, ended_at = now(), error_class = '', error_code = '', error_message = '',
    remote_id = coalesce(nullif($3, ''), remote_id), remote_version = coalesce(nullif($4, ''), remote_version)
WHERE tenant_id = $1 AND delivery_id = $2

-- name: taken
-- Which of our objects has this id there already.
SELECT key FROM remotes WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4 AND key <> $5

-- name: note
INSERT INTO interventions (tenant_id, delivery_id, n, person, action, reason, before, after)
SELECT $1, $2, coalesce(max(n), 0) + 1, $3, $4, $5, $6::text::jsonb, $7::text::jsonb
FROM interventions
WHERE tenant_id = $1 AND delivery_id = $2
RETURNING n

-- name: history
SELECT n, at, person, action, reason, before, after
FROM interventions
WHERE tenant_id = $1 AND delivery_id = $2
ORDER BY n
