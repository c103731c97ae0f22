-- What is wrong, and who was told.

-- name: claim
SELECT pg_try_advisory_xact_lock($1, $2)

-- name: latched
-- Connections and credentials that need a person.
SELECT c.connection::text AS subject, c.name,
       CASE WHEN c.state IN ('reauthorise', 'broken') THEN c.state ELSE 'reauthorise' END AS state,
       CASE WHEN c.state_reason <> '' THEN c.state_reason ELSE coalesce(r.reason, '') END AS reason
FROM connections AS c
LEFT JOIN credentials AS r ON r.tenant_id = c.tenant_id AND r.connection = c.connection
WHERE c.tenant_id = $1 AND (c.state IN ('reauthorise', 'broken') OR r.state = 'reauthorise')

-- name: dead
SELECT d.connection::text AS subject, c.name, count(*) FILTER (WHERE d.state = 'rejected') AS rejected,
       count(*) FILTER (WHERE d.state = 'unknown') AS unknown
FROM deliveries AS d
JOIN connections AS c ON c.tenant_id = d.tenant_id AND c.connection = d.connection
WHERE d.tenant_id = $1 AND d.mode = 'live' AND (d.state = 'rejected' OR (d.state = 'unknown' AND d.due_at IS NULL))
GROUP BY d.connection, c.name

-- name: expiring
-- $2 seconds from now. A token that is renewed by itself is none of these; one that cannot be is.
SELECT c.connection::text AS subject, n.name, e.kind, extract(epoch FROM e.at - now())::bigint AS seconds
FROM credentials AS c
JOIN connections AS n ON n.tenant_id = c.tenant_id AND n.connection = c.connection
CROSS JOIN LATERAL (
  VALUES ('token', CASE WHEN c.renew_at IS NULL THEN c.token_expires_at END), ('refresh token', c.refresh_expires_at),
         ('certificate', c.certificate_expires_at), ('password', c.password_expires_at)
) AS e (kind, at)
WHERE c.tenant_id = $1 AND e.at < now() + make_interval(secs => $2)

-- name: late
-- The oldest change that a connection which is not paused has not been told of; a backfill is in no hurry.
SELECT c.connection::text AS subject, c.name, extract(epoch FROM now() - min(w.at))::bigint AS seconds, count(*) AS waiting
FROM connections AS c
CROSS JOIN LATERAL (
  SELECT o.marked_at AS at
  FROM outbox AS o
  WHERE o.tenant_id = c.tenant_id AND o.connection = c.connection AND o.lane = 'live' AND o.marked_at < now() - make_interval(secs => $2)
  UNION ALL
  SELECT d.marked_at
  FROM deliveries AS d
  WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.lane = 'live' AND d.due_at IS NOT NULL
    AND d.mode = 'live' AND d.marked_at < now() - make_interval(secs => $2)
) AS w
WHERE c.tenant_id = $1 AND c.state = 'ok' AND c.mode = 'live'
GROUP BY c.connection, c.name

-- name: traffic
-- What came and went in the last stretch of $2 seconds, and in the same stretch of the two weeks before.
SELECT c.connection::text AS subject, c.name, extract(epoch FROM now() - c.created_at)::bigint AS age_seconds,
       w.weeks, (SELECT count(*) FROM deliveries AS d
        WHERE d.tenant_id = c.tenant_id AND d.connection = c.connection AND d.state = 'confirmed'
          AND d.ended_at > w.till - make_interval(secs => $2) AND d.ended_at <= w.till)
       + (SELECT count(*) FROM inbox AS i
          WHERE i.tenant_id = c.tenant_id AND i.connection = c.connection
            AND i.received_at > w.till - make_interval(secs => $2) AND i.received_at <= w.till) AS pieces,
       EXISTS (
         SELECT FROM alerts AS a
         WHERE a.tenant_id = c.tenant_id AND a.rule = 'silent' AND a.subject = c.connection::text AND a.resolved_at IS NULL
       ) AS is_open
FROM connections AS c
CROSS JOIN LATERAL (
  SELECT g.weeks, now() - make_interval(weeks => g.weeks) AS till FROM generate_series(0, 2) AS g (weeks)
) AS w
WHERE c.tenant_id = $1 AND c.state = 'ok' AND c.mode = 'live'
ORDER BY c.connection, w.weeks

-- name: quiet
SELECT p.connection::text || '/' || p.object AS subject, c.name, p.object
FROM polls AS p
JOIN connections AS c ON c.tenant_id = p.tenant_id AND c.connection = p.connection
WHERE p.tenant_id = $1 AND p.is_quiet

-- name: unpolled
SELECT p.connection::text || '/' || p.object AS subject, c.name, p.object, p.failures, p.reason
FROM polls AS p
JOIN connections AS c ON c.tenant_id = p.tenant_id AND c.connection = p.connection
WHERE p.tenant_id = $1 AND p.failures >= $2 AND c.state = 'ok'

-- name: inbox
SELECT i.connection::text AS subject, c.name, count(*) FILTER (WHERE i.state = 'failed') AS failed,
       coalesce(extract(epoch FROM now() - min(i.received_at) FILTER (WHERE i.state = 'waiting')), 0)::bigint AS seconds
FROM inbox AS i
JOIN connections AS c ON c.tenant_id = i.tenant_id AND c.connection = i.connection
WHERE i.tenant_id = $1 AND i.state IN ('waiting', 'failed') AND c.state = 'ok'
GROUP BY i.connection, c.name

-- name: drifted
-- Schemas that were found to be others after the mapping that holds was published, with all that had changed.
SELECT s.connection::text || '/' || s.object AS subject, c.name, s.object, max(s.version) AS version,
       coalesce(jsonb_agg(f.finding ORDER BY s.version, f.place) FILTER (WHERE f.finding IS NOT NULL), '[]') AS findings
FROM connections AS c
JOIN mappings AS m ON m.tenant_id = c.tenant_id AND m.connection = c.connection AND m.version = c.mapping_version
JOIN schemas AS s ON s.tenant_id = c.tenant_id AND s.connection = c.connection
LEFT JOIN LATERAL jsonb_array_elements(s.findings) WITH ORDINALITY AS f (finding, place) ON true
WHERE c.tenant_id = $1 AND s.version > 1 AND s.found_at > m.published_at
GROUP BY s.connection, s.object, c.name

-- name: canaries
-- $2 pauses of its own without having been read.
SELECT k.connection::text || '/' || k.object AS subject, c.name, k.object, k.remote_id, k.findings, k.reason,
       k.reason <> '' AND coalesce(k.read_at, k.made_at) < now() - make_interval(secs => $2 * k.every_seconds) AS is_unread
FROM canaries AS k
JOIN connections AS c ON c.tenant_id = k.tenant_id AND c.connection = k.connection
WHERE k.tenant_id = $1 AND c.state = 'ok' AND (k.findings <> '[]' OR k.reason <> '')

-- name: disabled
SELECT endpoint_id::text AS subject, reason FROM endpoints WHERE tenant_id = $1 AND state = 'disabled'

-- name: opened
-- What is seen the first time, or has become worse, has to be told. It gets better only by being over.
INSERT INTO alerts AS a (tenant_id, alert_id, rule, subject, severity, message)
SELECT $1, g.alert_id, g.rule, g.subject, g.severity, g.message
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[]) AS g (alert_id, rule, subject, severity, message)
ON CONFLICT (tenant_id, rule, subject) WHERE resolved_at IS NULL DO UPDATE
SET seen_at = now(), message = excluded.message,
    severity = CASE WHEN a.severity = 'critical' THEN a.severity ELSE excluded.severity END,
    due_at = CASE WHEN a.severity = 'warning' AND excluded.severity = 'critical' THEN now() ELSE a.due_at END
RETURNING a.alert_id::text, a.rule, a.subject, a.severity, a.message, a.opened_at, xmax = 0 AS is_new

-- name: resolve
-- Of these rules, what was not seen this time; of others, what was reported of an object of a connection that is not
-- there any more, so that nobody would settle it.
UPDATE alerts AS a SET resolved_at = now(), due_at = now(), tries = 0
WHERE a.tenant_id = $1 AND a.resolved_at IS NULL
  AND CASE WHEN a.rule = ANY ($2::text[]) THEN NOT EXISTS (
    SELECT FROM unnest($3::text[], $4::text[]) AS g (rule, subject) WHERE g.rule = a.rule AND g.subject = a.subject
  ) ELSE a.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/' AND NOT EXISTS (
    SELECT FROM connections AS c WHERE c.tenant_id = $1 AND c.connection::text = split_part(a.subject, '/', 1)
  ) END
RETURNING a.alert_id::text, a.rule, a.subject, a.severity, a.message, a.opened_at, a.resolved_at

-- name: settle
UPDATE alerts SET resolved_at = now(), due_at = now(), tries = 0
WHERE tenant_id = $1 AND rule = $2 AND subject = $3 AND resolved_at IS NULL
RETURNING alert_id::text, rule, subject, severity, message, opened_at, resolved_at

-- name: untold
-- What some of the sinks $2 do not know yet, in its present severity. That it is over is told to those who
-- know that it was there.
SELECT a.alert_id::text, a.tenant_id, a.rule, a.subject, a.severity, a.message, a.opened_at, a.resolved_at, a.tries,
       w.sinks
FROM alerts AS a
CROSS JOIN LATERAL (
  SELECT array_agg(g.sink) AS sinks
  FROM unnest($2::text[]) AS g (sink)
  WHERE CASE WHEN a.resolved_at IS NULL THEN NOT (g.sink || ':' || a.severity) = ANY (a.told)
             ELSE NOT g.sink = ANY (a.told_resolved) AND a.told && ARRAY[g.sink || ':warning', g.sink || ':critical'] END
) AS w
WHERE a.tenant_id = ANY ($1::integer[]) AND a.due_at <= now() AND w.sinks IS NOT NULL
ORDER BY a.opened_at
LIMIT $3
FOR UPDATE OF a SKIP LOCKED

-- name: told
-- $3 that it is over, $4 who knows, in which severity $5 · $6 what went wrong with others, $7 when they are tried again
UPDATE alerts
SET told = CASE WHEN $3 THEN told ELSE told || ARRAY(SELECT g.sink || ':' || $5::text FROM unnest($4::text[]) AS g (sink)) END,
    told_resolved = CASE WHEN $3 THEN told_resolved || $4::text[] ELSE told_resolved END,
    tries = CASE WHEN $6 = '' THEN 0 ELSE tries + 1 END, due_at = now() + make_interval(secs => $7), trouble = $6
WHERE tenant_id = $1 AND alert_id = $2

-- name: postpone
UPDATE alerts SET due_at = now() + make_interval(secs => $3)
WHERE tenant_id = ANY ($1::integer[]) AND alert_id = ANY ($2::uuid[])

-- name: listed
SELECT alert_id::text, rule, subject, severity, message, opened_at, seen_at, resolved_at, told, trouble
FROM alerts
WHERE tenant_id = $1 AND ($2::boolean IS NULL OR (resolved_at IS NULL) = $2)
ORDER BY opened_at DESC
LIMIT $3

-- name: prune
DELETE FROM alerts
WHERE tenant_id = $1 AND alert_id IN (
  SELECT alert_id FROM alerts WHERE tenant_id = $1 AND resolved_at < now() - make_interval(days => $2) LIMIT $3
)
