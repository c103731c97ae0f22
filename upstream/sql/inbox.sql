-- The inbox: vendors' events, what was made of them, and what is known of the records that they name.

-- name: name_all
-- A call from outside names its connection alone: whose it is has to be looked up among all tenants.
SELECT set_config('fieldsync.tenants', coalesce(string_agg(tenant_id::text, ','), ''), true) FROM tenants

-- name: whose
SELECT c.tenant_id
FROM connections AS c
WHERE c.tenant_id = ANY (fieldsync_tenants()) AND c.connection = $1::uuid

-- name: secrets
-- Those that verify, newest first.
SELECT secret_id::text, secret
FROM hook_secrets
WHERE tenant_id = $1 AND connection = $2 AND state = 'active' AND (ends_at IS NULL OR ends_at > now())
ORDER BY made_at DESC
LIMIT $3

-- name: secret_list
SELECT secret_id::text, state, made_at, ends_at
FROM hook_secrets
WHERE tenant_id = $1 AND connection = $2 AND (ends_at IS NULL OR ends_at > now())
ORDER BY made_at DESC

-- name: retire_secrets
-- The others are good for so many seconds more.
UPDATE hook_secrets
SET ends_at = least(coalesce(ends_at, 'infinity'), now() + make_interval(secs => $4))
WHERE tenant_id = $1 AND connection = $2 AND secret_id <> $3 AND state = 'active'

-- name: put_secret
INSERT INTO hook_secrets (tenant_id, connection, secret_id, secret, state, said) VALUES ($1, $2, $3, $4, $5, $6)

-- name: drop_ended
DELETE FROM hook_secrets WHERE tenant_id = $1 AND connection = $2 AND ends_at < now()

-- name: drop_candidates
-- So many of the newest stay.
DELETE FROM hook_secrets
WHERE tenant_id = $1 AND connection = $2 AND secret_id IN (
  SELECT secret_id
  FROM hook_secrets
  WHERE tenant_id = $1 AND connection = $2 AND state = 'candidate'
  ORDER BY made_at DESC
  OFFSET $3
)

-- name: candidates
SELECT secret_id::text, secret, said
FROM hook_secrets
WHERE tenant_id = $1 AND connection = $2 AND state = 'candidate'
ORDER BY made_at DESC

-- name: vouch
UPDATE hook_secrets SET state = 'active'
WHERE tenant_id = $1 AND connection = $2 AND secret_id = $3 AND state = 'candidate'
RETURNING secret_id

-- name: put
-- What is there already is counted. An event without a name of its own ($11) may truly have happened again,
-- so it is looked at again, whoever is at it; one that the vendor named has happened once. A state that a poll
-- finds once more after another one of the same record has come back, and goes behind that one. $12: when what
-- it says was asked for, if it was.
INSERT INTO inbox AS i (
  tenant_id, inbox_id, connection, event, source, object, remote_id, remote_version, is_whole, body, received_at
)
SELECT $1, g.inbox_id, $2, g.event, $3, g.object, g.remote_id, g.remote_version, g.is_whole, g.body,
       coalesce($12::timestamptz, now())
FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], $10::text[])
  AS g (inbox_id, event, object, remote_id, remote_version, is_whole, body)
ON CONFLICT (tenant_id, connection, event) DO UPDATE
SET times = i.times + 1,
    (inbox_id, state, received_at, due_at, tries, ended_at, leased_by, leased_until) = (
      SELECT s.*
      FROM (
        SELECT excluded.event = ANY ($11::text[]) AS is_again, $3 = 'poll' AND EXISTS (
          SELECT FROM inbox AS n
          WHERE n.tenant_id = i.tenant_id AND n.connection = i.connection AND n.object = i.object
            AND n.remote_id = i.remote_id AND n.inbox_id > i.inbox_id
        ) AS is_back
      ) AS a
      CROSS JOIN LATERAL (
        SELECT CASE WHEN i.state = 'waiting' AND NOT a.is_back THEN i.inbox_id ELSE excluded.inbox_id END, 'waiting',
               excluded.received_at, now(), 0, NULL::timestamptz, NULL::uuid, NULL::timestamptz
        WHERE a.is_again OR a.is_back
        UNION ALL
        SELECT i.inbox_id, i.state, i.received_at, i.due_at, i.tries, i.ended_at, i.leased_by, i.leased_until
        WHERE NOT (a.is_again OR a.is_back)
      ) AS s
    )
RETURNING (xmax = 0) AS is_new

-- name: notify
-- Who only carries outward is not woken by it.
SELECT pg_notify('fieldsync_work', 'in,' || $1::text)

-- name: hooked
-- A webhook of this object came: polling may take its time.
UPDATE polls SET hooked_at = now(), misses = 0
WHERE tenant_id = $1 AND connection = $2 AND object = ANY ($3::text[])
  AND (hooked_at IS NULL OR misses > 0 OR hooked_at < now() - interval '5 seconds')

-- name: lease
-- $1 tenants, $2 how many of each, $3 how many of all, $4 how many of one connection with those under way ($5) · $6
-- who, $7 for how many seconds. Of each record of the vendor's the oldest event, while the connection rests not. An
-- event that names no record waits for none. Tenants and connections have their turns by chance, so that none waits
-- for another to have nothing more.
WITH next AS MATERIALIZED (
  SELECT s.tenant_id, s.inbox_id
  FROM (
    SELECT g.tenant_id, g.room FROM unnest($1::integer[], $2::integer[]) AS g (tenant_id, room) ORDER BY random()
  ) AS t
  CROSS JOIN LATERAL (
    SELECT s.tenant_id, s.inbox_id
    FROM (
      SELECT o.tenant_id, o.connection,
             $4::bigint - (SELECT count(*) FROM unnest($5::uuid[]) AS b (taken) WHERE b.taken = o.connection) AS room
      FROM connections AS o
      WHERE o.tenant_id = t.tenant_id AND o.state = 'ok'
      ORDER BY random()
    ) AS c
    CROSS JOIN LATERAL (
      SELECT s.tenant_id, s.inbox_id
      FROM inbox AS s
      WHERE s.tenant_id = c.tenant_id AND s.connection = c.connection AND s.state = 'waiting' AND s.due_at <= now()
        AND (s.leased_until IS NULL OR s.leased_until < now())
        AND NOT EXISTS (
          SELECT FROM inbox AS p
          WHERE p.tenant_id = s.tenant_id AND p.connection = s.connection AND p.object = s.object
            AND p.remote_id = s.remote_id AND p.state = 'waiting' AND p.inbox_id < s.inbox_id AND s.remote_id <> ''
        )
      ORDER BY s.due_at
      LIMIT greatest(c.room, 0)
      FOR UPDATE SKIP LOCKED
    ) AS s
    LIMIT t.room
  ) AS s
  LIMIT $3
)
UPDATE inbox AS i
SET leased_by = $6::uuid, leased_until = now() + make_interval(secs => $7), tries = i.tries + 1
FROM next AS w
WHERE i.tenant_id = w.tenant_id AND i.inbox_id = w.inbox_id
RETURNING i.tenant_id, i.inbox_id::text, i.connection::text, i.event, i.source, i.object, i.remote_id, i.remote_version,
          i.is_whole, i.body, i.tries, i.received_at,
          extract(epoch FROM now() - greatest(i.received_at, i.taken_up_at))::bigint AS age_seconds

-- name: end
UPDATE inbox
SET state = $4, reason = $5, verdict = $6, collection = $7, record_id = $8::uuid, ended_at = now(), leased_by = NULL,
    leased_until = NULL
WHERE tenant_id = $1 AND inbox_id = $2 AND leased_by = $3 AND leased_until > now() AND state = 'waiting'
RETURNING inbox_id

-- name: end_overtaken
-- Thin events of the same record that had come before it was fetched say no more than what was fetched.
UPDATE inbox
SET state = $4, reason = 'told by a later fetch', ended_at = now(), collection = $7, record_id = $8::uuid
WHERE tenant_id = $1 AND connection = $2 AND object = $5 AND remote_id = $6 AND state = 'waiting' AND NOT is_whole
  AND received_at < $3 AND leased_by IS NULL

-- name: put_off
UPDATE inbox
SET leased_by = NULL, leased_until = NULL, due_at = now() + make_interval(secs => $4), reason = $5
WHERE tenant_id = $1 AND inbox_id = $2 AND leased_by = $3

-- name: holds
-- Whether the lease is still held; it begins anew.
UPDATE inbox SET leased_until = now() + make_interval(secs => $4)
WHERE tenant_id = $1 AND inbox_id = $2 AND leased_by = $3 AND leased_until > now()
RETURNING inbox_id

-- name: listed
SELECT inbox_id::text, event, source, object, remote_id, remote_version, is_whole, state, reason, verdict, collection,
       record_id::text, times, tries, received_at, due_at, ended_at
FROM inbox
WHERE tenant_id = $1 AND connection = $2 AND ($3::text IS NULL OR state = $3) AND inbox_id < $4::uuid
ORDER BY inbox_id DESC
LIMIT $5

-- name: body
SELECT body FROM inbox WHERE tenant_id = $1 AND connection = $2 AND inbox_id = $3

-- name: replay
-- What has ended is looked at again: one by its id, or all that came in a stretch of time, some states.
UPDATE inbox
SET state = 'waiting', due_at = now(), tries = 0, ended_at = NULL, taken_up_at = now(), reason = 'replayed', verdict = ''
WHERE tenant_id = $1 AND connection = $2 AND state <> 'waiting' AND ($3::uuid IS NULL OR inbox_id = $3)
  AND ($4::timestamptz IS NULL OR received_at >= $4) AND ($5::timestamptz IS NULL OR received_at < $5)
  AND ($6::text[] IS NULL OR state = ANY ($6))
RETURNING inbox_id

-- name: prune
DELETE FROM inbox
WHERE tenant_id = $1 AND inbox_id IN (
  SELECT inbox_id
  FROM inbox
  WHERE tenant_id = $1 AND state NOT IN ('waiting', 'failed') AND ended_at < now() - make_interval(days => $2)
  LIMIT $3
)

-- name: sighting
SELECT collection, record_id::text, version, fields, base, confirmed_seq, pending, seen_at
FROM sightings
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: confirmed
-- What was confirmed last of the object that has this id there.
SELECT key, remote_version, fields, confirmed_seq, confirmed_at, voided
FROM remotes
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: matched
-- The living records of a collection that have these values, and that no other record there is tied to, or is just
-- being tied to; at most two.
SELECT r.record_id::text
FROM records AS r
WHERE r.tenant_id = $1 AND r.collection = $4 AND r.alive AND r.fields @> $5::text::jsonb
  AND NOT EXISTS (
    SELECT FROM remotes AS m
    WHERE m.tenant_id = $1 AND m.connection = $2 AND m.object = $3 AND m.key = r.record_id::text
      AND m.remote_id IS NOT NULL
  )
  AND NOT EXISTS (
    SELECT FROM sightings AS g
    WHERE g.tenant_id = $1 AND g.connection = $2 AND g.object = $3 AND g.collection = $4 AND g.record_id = r.record_id
  )
LIMIT 2

-- name: lock_record
-- One at a time ties a record of theirs to one of ours. A statement of its own: what is read after it is what its last
-- holder left.
SELECT pg_advisory_xact_lock($1, hashtext($2))

-- name: tied
-- Whether this record of ours has been tied to one there since it was looked up.
SELECT EXISTS (
  SELECT FROM remotes
  WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND key = $5 AND remote_id IS NOT NULL
) OR EXISTS (
  SELECT FROM sightings
  WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND collection = $4 AND record_id = $5::text::uuid
)

-- name: put_sighting
-- Only if it still is what was read ($12: when that was written; empty: there was none).
INSERT INTO sightings AS s (
  tenant_id, connection, object, remote_id, collection, record_id, version, fields, base, confirmed_seq, pending, seen_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp())
ON CONFLICT (tenant_id, connection, object, remote_id) DO UPDATE
SET collection = excluded.collection, record_id = excluded.record_id, version = excluded.version,
    fields = excluded.fields, base = excluded.base, confirmed_seq = excluded.confirmed_seq, pending = excluded.pending,
    seen_at = excluded.seen_at
WHERE s.seen_at = $12
RETURNING seen_at

-- name: drop_sighting
DELETE FROM sightings WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND remote_id = $4

-- name: clock
SELECT clock_timestamp()

-- name: authority
SELECT authority FROM replicas WHERE tenant_id = $1 AND rid = $2

-- name: catalog_version
SELECT catalog_version FROM counters WHERE tenant_id = $1

-- name: locals
-- Our ids of what references name: by what was taken in, and by what we sent. What is announced and not judged yet is
-- not there, and would be missed.
SELECT g.object, g.remote_id, coalesce(s.record_id::text, r.key) AS record_id
FROM unnest($3::text[], $4::text[]) AS g (object, remote_id)
LEFT JOIN sightings AS s
  ON s.tenant_id = $1 AND s.connection = $2 AND s.object = g.object AND s.remote_id = g.remote_id
    AND s.pending::jsonb #>> '{mutation,op}' IS DISTINCT FROM 'create'
LEFT JOIN remotes AS r
  ON r.tenant_id = $1 AND r.connection = $2 AND r.object = g.object AND r.remote_id = g.remote_id
WHERE coalesce(s.record_id::text, r.key) IS NOT NULL

-- name: under_way
-- Whether something is on its way there of which it is not known what became: of this key, or (without
-- one) the making of an object whose id is not known yet.
SELECT EXISTS (
  SELECT FROM deliveries AS d
  LEFT JOIN remotes AS r
    ON r.tenant_id = d.tenant_id AND r.connection = d.connection AND r.object = d.object AND r.key = d.key
  WHERE d.tenant_id = $1 AND d.connection = $2 AND d.object = $3 AND d.mode = 'live' AND d.due_at IS NOT NULL
    AND d.state IN ('leased', 'sent', 'unknown')
    AND CASE WHEN $4::text IS NULL THEN r.remote_id IS NULL AND d.sends > 0 ELSE d.key = $4 AND d.sends > 0 END
)

-- name: marked
-- Which object of ours bears this mark there.
SELECT key, collection, record_id::text
FROM deliveries
WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND marker = $4
ORDER BY made_at DESC
LIMIT 1

-- name: waiting
SELECT connection::text, count(*) AS waiting, coalesce(extract(epoch FROM now() - min(received_at)), 0) AS oldest_seconds
FROM inbox
WHERE tenant_id = ANY ($1::integer[]) AND state = 'waiting'
GROUP BY connection

-- name: with_candidates
SELECT DISTINCT h.tenant_id, h.connection::text
FROM hook_secrets AS h
JOIN connections AS c ON c.tenant_id = h.tenant_id AND c.connection = h.connection AND c.state = 'ok'
WHERE h.tenant_id = ANY ($1::integer[]) AND h.state = 'candidate'
