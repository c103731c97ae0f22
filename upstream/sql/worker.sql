-- What waits, and whose turn it is to look.

-- name: tenants
SELECT t.tenant_id FROM tenants AS t ORDER BY t.tenant_id

-- name: with_connections
-- The tenants, of those named, that have a connection.
SELECT DISTINCT c.tenant_id FROM connections AS c WHERE c.tenant_id = ANY ($1::integer[]) ORDER BY c.tenant_id

-- name: look
-- The tenants whose turn it is for this worker to look at: each is looked at by one at a time, so that what
-- is under way is counted right. Nobody waits.
SELECT t.tenant_id
FROM unnest($2::integer[]) AS t (tenant_id)
WHERE pg_try_advisory_xact_lock($1, t.tenant_id)

-- name: outbox_backlog
-- Up to $2 of what is due in each lane of each connection that may be planned for.
SELECT t.weight, w.waiting, l.lane, c.tenant_id, c.connection::text, c.system, c.name, c.rid,
       c.manifest, c.manifest_text, c.base_url, c.config, c.mapping_version, c.mode, c.state, c.state_reason,
       c.in_flight_max, c.backfill_share, c.backfill_paused, c.created_at, 0 AS going, 0 AS going_here, 0 AS tenant_going
FROM unnest($1::integer[]) AS g (tenant_id)
JOIN tenants AS t ON t.tenant_id = g.tenant_id
JOIN connections AS c ON c.tenant_id = g.tenant_id
CROSS JOIN (VALUES ('live'), ('backfill')) AS l (lane)
CROSS JOIN LATERAL (
  SELECT count(*) AS waiting
  FROM (
    SELECT FROM outbox AS o
    WHERE o.tenant_id = c.tenant_id AND o.connection = c.connection AND o.lane = l.lane AND o.due_at <= now()
      AND (o.leased_until IS NULL OR o.leased_until < now())
    ORDER BY o.due_at
    LIMIT $2
  ) AS s
) AS w
WHERE c.mapping_version IS NOT NULL AND c.state <> 'broken' AND w.waiting > 0
  AND NOT (l.lane = 'backfill' AND c.backfill_paused)

-- name: deliveries_backlog
-- Up to $2 of what is due in each lane of each connection that may be spoken to, and what is under way.
SELECT t.weight, w.waiting, l.lane, c.tenant_id, c.connection::text, c.system, c.name, c.rid,
       c.manifest, c.manifest_text, c.base_url, c.config, c.mapping_version, c.mode, c.state, c.state_reason,
       c.in_flight_max, c.backfill_share, c.backfill_paused, c.created_at, b.going,
       CASE l.lane WHEN 'live' THEN b.going_live ELSE b.going_backfill END AS going_here,
       a.tenant_going
FROM unnest($1::integer[]) AS g (tenant_id)
JOIN tenants AS t ON t.tenant_id = g.tenant_id
CROSS JOIN LATERAL (
  SELECT count(*) AS tenant_going
  FROM deliveries AS d
  WHERE d.tenant_id = g.tenant_id AND d.leased_until > now()
) AS a
JOIN connections AS c ON c.tenant_id = g.tenant_id
CROSS JOIN (VALUES ('live'), ('backfill')) AS l (lane)
CROSS JOIN LATERAL (
  SELECT count(*) AS waiting
  FROM (
    SELECT FROM deliveries AS d
    WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.lane = l.lane AND d.due_at <= now()
      AND (d.leased_until IS NULL OR d.leased_until < now())
    LIMIT $2
  ) AS s
) AS w
CROSS JOIN LATERAL (
  SELECT count(*) AS going, count(*) FILTER (WHERE d.lane = 'live') AS going_live,
         count(*) FILTER (WHERE d.lane = 'backfill') AS going_backfill
  FROM deliveries AS d
  WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.leased_until > now()
) AS b
WHERE c.state = 'ok' AND c.mode = 'live' AND w.waiting > 0 AND NOT (l.lane = 'backfill' AND c.backfill_paused)

-- name: flounder
-- Something failed here, not there. What was sent may have happened. After $7 seconds of that a person is asked.
UPDATE deliveries AS d
SET state = CASE WHEN d.state IN ('sent', 'unknown') THEN 'unknown' WHEN g.goes_on THEN 'planned' ELSE 'rejected' END,
    due_at = CASE WHEN g.goes_on THEN now() + make_interval(secs => $4) END,
    ended_at = CASE WHEN g.goes_on OR d.state IN ('sent', 'unknown') THEN d.ended_at ELSE now() END,
    leased_by = NULL, leased_until = NULL, error_class = 'internal', error_code = $5, error_message = $6
FROM (
  SELECT coalesce(s.taken_up_at, s.made_at) > now() - make_interval(secs => $7) AS goes_on
  FROM deliveries AS s
  WHERE s.tenant_id = $1 AND s.delivery_id = $2
) AS g
WHERE d.tenant_id = $1 AND d.delivery_id = $2 AND d.leased_by = $3
