-- The credentials of connections. All times are the database's: workers' clocks need not agree.

-- name: read
SELECT
  version, secret, state, reason,
  (extract(epoch FROM token_expires_at - clock_timestamp()) * 1000)::bigint AS token_ms,
  (extract(epoch FROM renew_at - clock_timestamp()) * 1000)::bigint AS renew_ms,
  coalesce((extract(epoch FROM leased_until - clock_timestamp()) * 1000)::bigint, 0) AS leased_ms
FROM credentials
WHERE tenant_id = $1 AND connection = $2

-- name: put
-- What a person gave. It ends whatever was wrong with what was there before.
INSERT INTO credentials (
  tenant_id, connection, version, secret, state,
  token_expires_at, renew_at, refresh_expires_at, certificate_expires_at, password_expires_at
)
VALUES (
  $1, $2, 1, $3, 'ok',
  clock_timestamp() + $4::bigint * interval '1 ms', clock_timestamp() + $5::bigint * interval '1 ms',
  clock_timestamp() + $6::bigint * interval '1 ms', $7, $8
)
ON CONFLICT (tenant_id, connection) DO UPDATE SET
  version = credentials.version + 1, secret = excluded.secret, state = 'ok', reason = '',
  token_expires_at = excluded.token_expires_at, renew_at = excluded.renew_at,
  refresh_expires_at = excluded.refresh_expires_at, certificate_expires_at = excluded.certificate_expires_at,
  password_expires_at = excluded.password_expires_at,
  asked_at = NULL, leased_until = NULL, leased_by = NULL, changed_at = clock_timestamp()
RETURNING version

-- name: claim
-- The right to renew, for one worker. `unsettled`: somebody asked before with the same credentials, and nobody
-- knows what came of it.
UPDATE credentials AS c
SET leased_until = clock_timestamp() + $4::bigint * interval '1 ms', leased_by = $5, asked_at = clock_timestamp()
FROM (SELECT asked_at FROM credentials WHERE tenant_id = $1 AND connection = $2 FOR UPDATE) AS before
WHERE c.tenant_id = $1 AND c.connection = $2 AND c.version = $3 AND c.state = 'ok'
  AND (c.leased_until IS NULL OR c.leased_until < clock_timestamp())
RETURNING before.asked_at IS NOT NULL AS unsettled

-- name: keep
-- The new pair, if nobody has put another one meanwhile. Who renewed last has the pair that is good, even if it
-- took longer than its lease.
UPDATE credentials
SET version = version + 1, secret = $4, state = 'ok', reason = '',
    token_expires_at = clock_timestamp() + $5::bigint * interval '1 ms',
    renew_at = clock_timestamp() + $6::bigint * interval '1 ms',
    refresh_expires_at = coalesce(clock_timestamp() + $7::bigint * interval '1 ms', refresh_expires_at),
    asked_at = NULL, leased_until = NULL, leased_by = NULL, changed_at = clock_timestamp()
WHERE tenant_id = $1 AND connection = $2 AND version = $3
RETURNING version

-- name: release
-- It was not renewed. If it is not known what came of it, that stays noted.
UPDATE credentials
SET leased_until = NULL, leased_by = NULL, renew_at = clock_timestamp() + $5::bigint * interval '1 ms',
    asked_at = CASE WHEN $6 THEN NULL ELSE asked_at END
WHERE tenant_id = $1 AND connection = $2 AND version = $3 AND leased_by = $4

-- name: refuse
-- Nobody is let in with these credentials any more, until a person puts others.
UPDATE credentials
SET state = 'reauthorise', reason = $4, leased_until = NULL, leased_by = NULL, changed_at = clock_timestamp()
WHERE tenant_id = $1 AND connection = $2 AND version = $3 AND ($5::uuid IS NULL OR leased_by = $5)
RETURNING version

-- name: pause_connection
UPDATE connections SET state = 'reauthorise', state_reason = $3
WHERE tenant_id = $1 AND connection = $2 AND state = 'ok'

-- name: resume_connection
-- What was tried or came before is as old as now: it was not the vendor that was away.
WITH goes_on AS (
  UPDATE connections SET state = 'ok', state_reason = ''
  WHERE tenant_id = $1 AND connection = $2 AND state = 'reauthorise'
  RETURNING tenant_id, connection
), taken_up AS (
  UPDATE inbox AS i
  SET taken_up_at = now()
  FROM goes_on AS g
  WHERE i.tenant_id = g.tenant_id AND i.connection = g.connection AND i.state = 'waiting'
)
UPDATE deliveries AS d
SET taken_up_at = now()
FROM goes_on AS g
WHERE d.tenant_id = g.tenant_id AND d.connection = g.connection AND d.due_at IS NOT NULL AND d.first_sent_at IS NOT NULL

-- name: expiries
SELECT c.tenant_id, c.connection::text, e.kind, extract(epoch FROM e.at - clock_timestamp())::float8 AS seconds
FROM credentials AS c
CROSS JOIN LATERAL (VALUES
  ('token', c.token_expires_at), ('refresh_token', c.refresh_expires_at),
  ('certificate', c.certificate_expires_at), ('password', c.password_expires_at)
) AS e (kind, at)
WHERE c.tenant_id = ANY ($1::integer[]) AND e.at IS NOT NULL
ORDER BY c.tenant_id, c.connection, e.kind

-- name: troubles
-- Credentials that need a person, and renewals whose end nobody knows.
SELECT tenant_id, connection::text, state, reason, asked_at IS NOT NULL AS unsettled
FROM credentials
WHERE tenant_id = ANY ($1::integer[])
  AND (state <> 'ok' OR (asked_at IS NOT NULL AND (leased_until IS NULL OR leased_until < clock_timestamp())))
ORDER BY tenant_id, connection
