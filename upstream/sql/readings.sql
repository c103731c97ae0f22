-- How the back door is, for those who watch: one row for each number.

-- name: connections
SELECT c.connection::text, c.system, c.state
FROM connections AS c
WHERE c.tenant_id = ANY ($1::integer[])

-- name: deliveries
-- Those that are open, those that were given up, and those that were confirmed in the last day. What was only
-- recorded in shadow mode waits for nobody.
SELECT d.connection::text, d.state, count(*)::bigint AS n
FROM deliveries AS d
WHERE d.tenant_id = ANY ($1::integer[]) AND d.due_at IS NOT NULL AND d.state NOT IN ('rejected', 'confirmed')
GROUP BY d.connection, d.state
UNION ALL
SELECT d.connection::text, CASE WHEN d.state = 'rejected' THEN 'rejected' ELSE 'in_doubt' END, count(*)
FROM deliveries AS d
WHERE d.tenant_id = ANY ($1::integer[]) AND d.mode = 'live'
  AND (d.state = 'rejected' OR (d.state = 'unknown' AND d.due_at IS NULL))
GROUP BY 1, 2
UNION ALL
SELECT d.connection::text, 'confirmed', count(*)
FROM deliveries AS d
WHERE d.tenant_id = ANY ($1::integer[]) AND d.state = 'confirmed' AND d.ended_at > now() - interval '1 day'
GROUP BY d.connection

-- name: undelivered
-- The age of the oldest change that a connection has not been told of.
SELECT c.connection::text, coalesce(extract(epoch FROM now() - min(w.at)), 0)::double precision AS seconds
FROM connections AS c
LEFT JOIN LATERAL (
  SELECT min(o.marked_at) AS at
  FROM outbox AS o
  WHERE o.tenant_id = c.tenant_id AND o.connection = c.connection AND o.lane = 'live'
  UNION ALL
  SELECT min(d.marked_at)
  FROM deliveries AS d
  WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.lane = 'live' AND d.due_at IS NOT NULL
) AS w ON true
WHERE c.tenant_id = ANY ($1::integer[])
GROUP BY c.connection

-- name: freshness
-- How long ago anything last came or went: a confirmed delivery, an event, a poll. In shadow mode nothing is sent,
-- and silence is no news.
SELECT c.connection::text,
       extract(epoch FROM now() - greatest(
         c.created_at,
         (SELECT max(d.ended_at) FROM deliveries AS d
          WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.state = 'confirmed'),
         (SELECT max(i.received_at) FROM inbox AS i WHERE i.tenant_id = c.tenant_id AND i.connection = c.connection),
         (SELECT max(p.polled_at) FROM polls AS p WHERE p.tenant_id = c.tenant_id AND p.connection = c.connection)
       ))::double precision AS seconds
FROM connections AS c
WHERE c.tenant_id = ANY ($1::integer[]) AND c.mode = 'live'

-- name: stages
-- Of what was confirmed in the last quarter of an hour, how long each stage took on average.
SELECT d.connection::text,
       avg(extract(epoch FROM d.made_at - d.marked_at))::double precision AS planned,
       avg(extract(epoch FROM d.first_sent_at - d.made_at))::double precision AS sent,
       avg(extract(epoch FROM d.ended_at - d.first_sent_at))::double precision AS confirmed
FROM deliveries AS d
WHERE d.tenant_id = ANY ($1::integer[]) AND d.state = 'confirmed' AND d.ended_at > now() - interval '15 minutes'
  AND d.first_sent_at IS NOT NULL
GROUP BY d.connection

-- name: inbox
SELECT i.connection::text, i.state, count(*)::bigint AS n,
       coalesce(extract(epoch FROM now() - min(i.received_at)), 0)::double precision AS seconds
FROM inbox AS i
WHERE i.tenant_id = ANY ($1::integer[]) AND i.state IN ('waiting', 'failed')
GROUP BY i.connection, i.state

-- name: quiet
SELECT p.connection::text, p.object, p.is_quiet::integer AS n FROM polls AS p WHERE p.tenant_id = ANY ($1::integer[])

-- name: postings
SELECT count(*) FILTER (WHERE p.state = 'waiting')::bigint AS waiting,
       coalesce(extract(epoch FROM now() - min(p.made_at)), 0)::double precision AS seconds
FROM postings AS p
WHERE p.tenant_id = ANY ($1::integer[]) AND p.state = 'waiting'

-- name: canaries
SELECT k.connection::text, k.object, jsonb_array_length(k.findings) AS n,
       extract(epoch FROM now() - coalesce(k.read_at, k.made_at))::double precision AS seconds
FROM canaries AS k
WHERE k.tenant_id = ANY ($1::integer[])

-- name: alerts
SELECT a.rule, a.severity, count(*)::bigint AS n
FROM alerts AS a
WHERE a.tenant_id = ANY ($1::integer[]) AND a.resolved_at IS NULL
GROUP BY a.rule, a.severity
