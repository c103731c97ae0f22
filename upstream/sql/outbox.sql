-- The outbox. Rows are made by the committers' write statement (syncserver/store/sql/group.sql), and by
-- a backfill. A row is leased, worked on, and taken out if nothing newer came meanwhile.

-- name: lease
-- $1 tenant, $2 connection, $3 lane, $4 how many · $5 who, $6 for how many seconds. Oldest first. A row
-- that somebody else writes at this moment is left to the next look.
WITH next AS MATERIALIZED (
  SELECT w.place
  FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::integer[]) AS g (tenant_id, connection, lane, most)
  CROSS JOIN LATERAL (
    SELECT s.ctid AS place
    FROM outbox AS s
    WHERE s.tenant_id = g.tenant_id AND s.connection = g.connection AND s.lane = g.lane
      AND s.due_at <= now() AND (s.leased_until IS NULL OR s.leased_until < now())
    ORDER BY s.due_at
    LIMIT g.most
    FOR UPDATE SKIP LOCKED
  ) AS w
)
UPDATE outbox AS o
SET leased_by = $5::uuid, leased_until = now() + make_interval(secs => $6), attempts = o.attempts + 1
FROM next AS n
WHERE o.ctid = n.place
RETURNING o.tenant_id, o.connection::text, o.collection, o.record_id::text, o.seq, o.from_seq, o.cause_rid, o.correct,
          o.lane, o.marked_at, o.attempts, now() AS leased_at

-- name: hold
-- What a leased row says now. A statement of its own, so that it waits for whoever is changing the row, and then
-- sees the change: one that looked and acted at once would act by what stood there before.
SELECT seq, correct
FROM outbox
WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4 AND leased_by = $5
FOR UPDATE

-- name: take_out
DELETE FROM outbox WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4

-- name: renew
-- What came meanwhile stays, and is due at once.
UPDATE outbox
SET leased_by = NULL, leased_until = NULL, due_at = now(), attempts = 0
WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4

-- name: put_off
-- $6 what was worked on: a newer version that came meanwhile is not put off, nor what waits for a record that was
-- told meanwhile, since $10.
UPDATE outbox AS o
SET leased_by = NULL, leased_until = NULL, waits_on = $8, reason = $9,
    due_at = now() + CASE WHEN seq = $6 AND NOT (
      SELECT EXISTS (
        SELECT FROM deliveries AS d
        WHERE d.tenant_id = $1 AND d.connection = $2 AND d.record_id = $8 AND d.state = 'confirmed' AND d.ended_at >= $10
      )
    ) THEN make_interval(secs => $7) ELSE interval '0' END
WHERE tenant_id = $1 AND connection = $2 AND collection = $3 AND record_id = $4 AND leased_by = $5

-- name: wake
-- What waited for this record is due, and the workers hear of it if there was anything.
WITH woken AS (
  UPDATE outbox SET due_at = now(), waits_on = NULL
  WHERE tenant_id = $1 AND connection = $2 AND waits_on = $3
  RETURNING tenant_id
)
SELECT pg_notify('fieldsync_work', w.tenant_id::text) FROM (SELECT DISTINCT tenant_id FROM woken) AS w

-- name: mark
-- $5 lane, $6 correct. What is there already stays, and becomes as urgent as the more urgent of the two. With `correct`
-- it is planned of what is known now: whoever is planning it at this moment loses it.
INSERT INTO outbox AS o (tenant_id, connection, collection, record_id, seq, from_seq, cause_rid, lane, correct)
SELECT r.tenant_id, $2, r.collection, r.record_id, r.rev, r.rev, 0, $5, $6
FROM unnest($3::text[], $4::text[]) AS g (collection, record_id)
CROSS JOIN LATERAL (
  SELECT *
  FROM records AS s
  WHERE s.tenant_id = $1 AND s.collection = g.collection AND s.record_id = g.record_id::uuid
  OFFSET 0
) AS r
ON CONFLICT (tenant_id, connection, collection, record_id) DO UPDATE
SET correct = o.correct OR excluded.correct, lane = CASE WHEN excluded.lane = 'live' THEN 'live' ELSE o.lane END,
    due_at = CASE WHEN excluded.correct THEN now() ELSE o.due_at END,
    leased_by = CASE WHEN excluded.correct THEN NULL ELSE o.leased_by END,
    leased_until = CASE WHEN excluded.correct THEN NULL ELSE o.leased_until END
RETURNING o.record_id

-- name: backfill
-- The next living records of a collection in order of their ids, after $4.
WITH page AS (
  SELECT r.record_id, r.rev
  FROM records AS r
  WHERE r.tenant_id = $1 AND r.collection = $3 AND r.record_id > $4::uuid AND r.alive
  ORDER BY r.record_id
  LIMIT $5
), marked AS (
  INSERT INTO outbox (tenant_id, connection, collection, record_id, seq, from_seq, cause_rid, lane)
  SELECT $1, $2, $3, p.record_id, p.rev, p.rev, 0, 'backfill'
  FROM page AS p
  ON CONFLICT DO NOTHING
)
SELECT max(p.record_id::text) AS last, count(*) AS rows FROM page AS p

-- name: notify
SELECT pg_notify('fieldsync_work', $1)

-- name: waiting
SELECT collection, record_id::text, seq, lane, marked_at, due_at, attempts, waits_on::text, reason
FROM outbox
WHERE tenant_id = $1 AND connection = $2
ORDER BY marked_at
LIMIT $3

-- name: of_record
SELECT connection::text, seq, lane, marked_at, due_at, attempts, waits_on::text, reason
FROM outbox
WHERE tenant_id = $1 AND collection = $2 AND record_id = $3::uuid
  AND connection IN (SELECT c.connection FROM connections AS c WHERE c.tenant_id = $1)
