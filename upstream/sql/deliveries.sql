-- Deliveries: planned, leased, sent, and what came of them. Whoever changes one under a lease names
-- themselves; if the lease was lost nothing is changed, and nothing comes back.

-- name: lock_keys
-- One at a time plans for a key. A statement of its own: what is read after it is what its last holder left.
-- In the order of the locks themselves, so that nobody waits in a circle.
SELECT pg_advisory_xact_lock($1, g.lock)
FROM (SELECT DISTINCT hashtext(w.name) AS lock FROM unnest($2::text[]) AS w (name) ORDER BY lock) AS g

-- name: newest
-- Of each key (object, key) its newest delivery that still counts, and how many were made of the same state.
SELECT g.object, g.key, d.delivery_id::text, d.seen_seq, d.state, d.mode, d.action, d.fields,
       (SELECT count(*) FROM deliveries AS s
        WHERE s.tenant_id = $1 AND s.connection = $2 AND s.object = g.object AND s.key = g.key AND s.seen_seq = $5
       ) AS alike
FROM unnest($3::text[], $4::text[]) AS g (object, key)
LEFT JOIN LATERAL (
  SELECT *
  FROM deliveries AS s
  WHERE s.tenant_id = $1 AND s.connection = $2 AND s.object = g.object AND s.key = g.key
    AND s.state NOT IN ('superseded', 'rejected')
  ORDER BY s.seen_seq DESC, s.delivery_id DESC
  LIMIT 1
) AS d ON true

-- name: alike
-- How many deliveries of a key were made of the same state.
SELECT count(*) FROM deliveries WHERE tenant_id = $1 AND connection = $2 AND object = $3 AND key = $4 AND seen_seq = $5

-- name: supersede
-- What was planned and not begun, or given up, is overtaken by what knows more.
WITH older AS MATERIALIZED (
  SELECT s.place, g.delivery_id AS newer
  FROM unnest($3::text[], $4::text[], $5::uuid[]) AS g (object, key, delivery_id)
  CROSS JOIN LATERAL (
    SELECT o.ctid AS place
    FROM deliveries AS o
    WHERE o.tenant_id = $1 AND o.connection = $2 AND o.object = g.object AND o.key = g.key
      AND o.state IN ('planned', 'rejected') AND o.delivery_id <> g.delivery_id
    FOR UPDATE
  ) AS s
)
UPDATE deliveries AS d
SET state = 'superseded', superseded_by = o.newer, due_at = NULL, ended_at = now()
FROM older AS o
WHERE d.ctid = o.place

-- name: drop_obsolete
-- Of keys of which nothing has to be said any more: what was given up, for nobody has to decide on it now, and the late
-- object that was to carry a difference which is gone.
WITH obsolete AS MATERIALIZED (
  SELECT s.place
  FROM unnest($3::text[], $4::text[]) AS g (object, key)
  CROSS JOIN LATERAL (
    SELECT o.ctid AS place
    FROM deliveries AS o
    WHERE o.tenant_id = $1 AND o.connection = $2 AND o.object = g.object AND o.key = g.key
      AND coalesce(o.state, '') = 'rejected' AND o.seen_seq <= $5
    FOR UPDATE
  ) AS s
  UNION ALL
  SELECT s.place
  FROM unnest($3::text[], $4::text[]) AS g (object, key)
  CROSS JOIN LATERAL (
    SELECT o.ctid AS place
    FROM deliveries AS o
    WHERE o.tenant_id = $1 AND o.connection = $2 AND o.late_object = g.object AND o.late_key = g.key
      AND o.state IN ('planned', 'rejected') AND o.seen_seq <= $5
    FOR UPDATE
  ) AS s
)
UPDATE deliveries AS d
SET state = 'superseded', due_at = NULL, ended_at = now()
FROM obsolete AS o
WHERE d.ctid = o.place

-- name: drop_late
-- A late object that was planned and not begun is made anew, of the whole difference.
UPDATE deliveries
SET state = 'superseded', due_at = NULL, ended_at = now()
WHERE tenant_id = $1 AND connection = $2 AND late_object = $3 AND late_key = $4 AND state IN ('planned', 'rejected')

-- name: lates
-- How many late objects of this one there were, and whether what came of one of them is still open.
SELECT count(*) FILTER (WHERE state <> 'superseded') AS made,
       count(*) FILTER (WHERE state IN ('leased', 'sent', 'unknown')) AS open
FROM deliveries
WHERE tenant_id = $1 AND connection = $2 AND late_object = $3 AND late_key = $4

-- name: insert
INSERT INTO deliveries (
  tenant_id, delivery_id, connection, object, key, collection, record_id, cause_seq, seen_seq, action, lane, state, mode,
  idempotency_key, marker, fields, mapping_version, late_object, late_key, covers, marked_at, remote_id, remote_version,
  due_at, error_class, error_code, error_message, ended_at
)
SELECT $1, g.delivery_id, $2, g.object, g.key, g.collection, g.record_id::uuid, g.cause_seq, $3, g.action, $4, g.state, $5,
       g.idempotency_key, g.marker, g.fields::jsonb, $6, g.late_object, g.late_key, g.covers::jsonb, $7, g.remote_id,
       g.remote_version, CASE WHEN g.state = 'planned' AND $5 = 'live' THEN now() END, g.error_class, g.error_code,
       g.error_message, CASE WHEN g.state = 'rejected' THEN now() END
FROM unnest(
  $8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::uuid[],
  $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
  $26::text[]
) AS g (
  delivery_id, object, key, collection, record_id, cause_seq, action, state, idempotency_key, marker, fields, late_object,
  late_key, covers, remote_id, remote_version, error_class, error_code, error_message
)

-- name: lease
-- $1 tenant, $2 connection, $3 lane, $4 how many · $5 who, $6 for how many seconds. Of one key the oldest
-- comes first, and the next not before it has ended. What was sent by somebody who then vanished is
-- `unknown` from here on.
WITH next AS MATERIALIZED (
  SELECT w.place
  FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::integer[]) AS g (tenant_id, connection, lane, most)
  CROSS JOIN LATERAL (
    SELECT s.ctid AS place
    FROM deliveries AS s
    WHERE s.tenant_id = g.tenant_id AND s.connection = g.connection AND s.lane = g.lane
      AND s.due_at <= now() AND (s.leased_until IS NULL OR s.leased_until < now())
      AND NOT (
        SELECT EXISTS (
          SELECT FROM deliveries AS p
          WHERE p.tenant_id = s.tenant_id AND p.connection = s.connection AND p.object = s.object AND p.key = s.key
            AND coalesce(p.due_at, 'infinity') < 'infinity' AND (p.seen_seq, p.delivery_id) < (s.seen_seq, s.delivery_id)
        )
      )
    ORDER BY s.due_at
    LIMIT g.most
    FOR UPDATE SKIP LOCKED
  ) AS w
)
UPDATE deliveries AS d
SET state = CASE d.state WHEN 'planned' THEN 'leased' WHEN 'sent' THEN 'unknown' ELSE d.state END,
    leased_by = $5::uuid, leased_until = now() + make_interval(secs => $6)
FROM next AS n
WHERE d.ctid = n.place
RETURNING d.delivery_id::text, d.tenant_id

-- name: leased
-- Those that were leased, with what is known of their objects. A statement after the lease, which sees
-- what the former holder of a key left.
SELECT d.tenant_id, d.delivery_id::text, d.connection::text, d.object, d.key, d.collection, d.record_id::text, d.cause_seq,
       d.seen_seq, d.action, d.lane, d.state, d.mode, d.idempotency_key::text, d.marker, d.fields, d.mapping_version,
       d.late_object, d.late_key, d.covers, d.sends, d.reads, d.conflicts, d.tried, d.marked_at,
       coalesce(d.remote_id, CASE WHEN NOT r.voided THEN r.remote_id END, '') AS remote_id,
       coalesce(
         CASE WHEN NOT r.voided AND r.remote_id = coalesce(d.remote_id, r.remote_id) THEN r.remote_version END,
         d.remote_version, ''
       ) AS remote_version,
       CASE WHEN NOT r.voided THEN r.fields END AS told,
       (extract(epoch FROM now() - coalesce(d.taken_up_at, d.first_sent_at, now())) * 1000)::bigint AS age_ms,
       (extract(epoch FROM now() - d.last_sent_at) * 1000)::bigint AS since_sent_ms,
       coalesce((
         SELECT true FROM deliveries AS p
         WHERE p.tenant_id = d.tenant_id AND p.connection = d.connection AND p.object = d.object AND p.key = d.key
           AND p.state = 'unknown' AND p.delivery_id <> d.delivery_id
         LIMIT 1
       ), false) AS unresolved,
       coalesce((
         SELECT a.outcome = 'sent' FROM attempts AS a
         WHERE a.tenant_id = d.tenant_id AND a.delivery_id = d.delivery_id AND a.n = d.tried
       ), false) AS unanswered
FROM unnest($1::integer[], $2::text[]) AS g (tenant_id, delivery_id)
CROSS JOIN LATERAL (
  SELECT * FROM deliveries AS s WHERE s.tenant_id = g.tenant_id AND s.delivery_id = g.delivery_id::uuid OFFSET 0
) AS d
LEFT JOIN LATERAL (
  SELECT *
  FROM remotes AS s
  WHERE s.tenant_id = d.tenant_id AND s.connection = d.connection AND s.object = d.object AND s.key = d.key
  OFFSET 0
) AS r ON true
ORDER BY d.made_at

-- name: sent
-- Before each request that changes something there: from here on it may have happened. The lease begins anew, so that
-- it outlasts the request. Unless $6, nothing is begun where the system's own edit would be written over with what was
-- before: 0 comes back if one was taken in since this was made, -1 if those of the object $7 wait to be, and the first
-- of them for less than $8 seconds.
WITH held AS (
  SELECT d.tenant_id, d.delivery_id,
         CASE
           WHEN $6::boolean THEN 1
           WHEN EXISTS (
             SELECT FROM changes AS c
             WHERE c.tenant_id = d.tenant_id AND c.collection = d.collection AND c.record_id = d.record_id
               AND c.seq > d.seen_seq
               AND c.rid = (SELECT k.rid FROM connections AS k WHERE k.tenant_id = $1 AND k.connection = d.connection)
           ) THEN 0
           WHEN $7 <> '' AND (
             SELECT min(i.received_at) FROM inbox AS i
             WHERE i.tenant_id = d.tenant_id AND i.connection = d.connection AND i.object = d.object
               AND i.remote_id = $7 AND i.state = 'waiting'
           ) > now() - make_interval(secs => $8) THEN -1
           ELSE 1
         END AS may
  FROM deliveries AS d
  WHERE d.tenant_id = $1 AND d.delivery_id = $2 AND d.leased_by = $3 AND coalesce(d.leased_until, '-infinity') > now()
  FOR UPDATE
),
going AS (
  UPDATE deliveries AS d
  SET state = 'sent', sends = d.sends + 1, tried = d.tried + 1, last_sent_at = now(),
      first_sent_at = coalesce(d.first_sent_at, now()), leased_until = now() + make_interval(secs => $4)
  FROM held AS h
  WHERE d.tenant_id = h.tenant_id AND d.delivery_id = h.delivery_id AND h.may > 0
  RETURNING d.tenant_id, d.delivery_id, d.tried
),
noted AS (
  INSERT INTO attempts (tenant_id, delivery_id, n, operation, request, status, reply, outcome, took_ms)
  SELECT tenant_id, delivery_id, tried, $5, '', 0, '', 'sent', 0 FROM going
  RETURNING n
)
SELECT coalesce((SELECT n FROM noted), may) FROM held

-- name: hold
-- Before a look that may take longer than a lease.
UPDATE deliveries
SET leased_until = now() + make_interval(secs => $4)
WHERE tenant_id = $1 AND delivery_id = $2 AND leased_by = $3 AND coalesce(leased_until, '-infinity') > now()
RETURNING delivery_id

-- name: answered
UPDATE attempts SET request = $4, status = $5, reply = $6, outcome = $7, took_ms = $8
WHERE tenant_id = $1 AND delivery_id = $2 AND n = $3

-- name: looked
-- $11 whether something was seen: a vendor that is away is waited for by time, not by looks.
WITH going AS (
  UPDATE deliveries
  SET reads = reads + $11::boolean::integer, tried = tried + 1, leased_until = now() + make_interval(secs => $4)
  WHERE tenant_id = $1 AND delivery_id = $2 AND leased_by = $3 AND coalesce(leased_until, '-infinity') > now()
  RETURNING tenant_id, delivery_id, tried
)
INSERT INTO attempts (tenant_id, delivery_id, n, operation, request, status, reply, outcome, took_ms)
SELECT tenant_id, delivery_id, tried, $5, $6, $7, $8, $9, $10 FROM going
RETURNING n

-- name: rest
-- It is looked at again after so many milliseconds; without them, only by a person.
UPDATE deliveries
SET state = $4, due_at = now() + make_interval(secs => $5::double precision / 1000), leased_by = NULL, leased_until = NULL,
    error_class = $6, error_code = $7, error_message = $8, conflicts = $9, remote_id = nullif($10, ''),
    remote_version = nullif($11, ''), sends = sends - $12
WHERE tenant_id = $1 AND delivery_id = $2 AND leased_by = $3
RETURNING delivery_id

-- name: reject
UPDATE deliveries
SET state = $4, due_at = NULL, leased_by = NULL, leased_until = NULL, ended_at = now(),
    error_class = $5, error_code = $6, error_message = $7
WHERE tenant_id = $1 AND delivery_id = $2 AND leased_by = $3
RETURNING delivery_id

-- name: confirm
UPDATE deliveries
SET state = 'confirmed', due_at = NULL, leased_by = NULL, leased_until = NULL, ended_at = now(),
    error_class = '', error_code = '', error_message = '', remote_id = nullif($4, ''), remote_version = nullif($5, '')
WHERE tenant_id = $1 AND delivery_id = $2 AND leased_by = $3
RETURNING delivery_id

-- name: settle_unknown
-- Now that it is known what stands there, nobody has to find out what became of the ones before.
UPDATE deliveries
SET state = 'superseded', superseded_by = $2, ended_at = now()
WHERE tenant_id = $1 AND connection = $3 AND object = $4 AND key = $5 AND state = 'unknown' AND delivery_id <> $2

-- name: get
SELECT tenant_id, delivery_id::text, connection::text, object, key, collection, record_id::text, cause_seq, seen_seq, action,
       lane, state, mode, idempotency_key::text, marker, fields, mapping_version, late_object, late_key, sends, reads,
       tried, first_sent_at, last_sent_at, due_at, remote_id, remote_version, error_class, error_code, error_message,
       marked_at, made_at, ended_at, superseded_by::text
FROM deliveries
WHERE tenant_id = $1 AND delivery_id = $2

-- name: listed
-- Newest first, before $6. An empty text, list or instant asks for any. $14: those only that wait for a person.
SELECT tenant_id, delivery_id::text, connection::text, object, key, collection, record_id::text, cause_seq, seen_seq, action,
       lane, state, mode, idempotency_key::text, marker, fields, mapping_version, late_object, late_key, sends, reads,
       tried, first_sent_at, last_sent_at, due_at, remote_id, remote_version, error_class, error_code, error_message,
       marked_at, made_at, ended_at, superseded_by::text
FROM deliveries
WHERE tenant_id = $1 AND ($2 = '' OR connection = nullif($2, '')::uuid) AND (cardinality($3::text[]) = 0 OR state = ANY ($3))
  AND ($4 = '' OR object = $4) AND ($5 = '' OR key = $5) AND delivery_id < $6::uuid
  AND ($8 = '' OR collection = $8) AND ($9 = '' OR record_id = nullif($9, '')::uuid)
  AND ($10 = '' OR error_class = $10) AND ($11 = '' OR error_code = $11)
  AND ($12::timestamptz IS NULL OR coalesce(ended_at, last_sent_at, made_at) >= $12)
  AND ($13::timestamptz IS NULL OR coalesce(ended_at, last_sent_at, made_at) < $13)
  AND (NOT $14::boolean OR state = 'rejected' OR (state = 'unknown' AND due_at IS NULL))
  AND ($15 = '' OR mode = $15)
ORDER BY delivery_id DESC
LIMIT $7

-- name: of_record
SELECT tenant_id, delivery_id::text, connection::text, object, key, collection, record_id::text, cause_seq, seen_seq, action,
       lane, state, mode, idempotency_key::text, marker, fields, mapping_version, late_object, late_key, sends, reads,
       tried, first_sent_at, last_sent_at, due_at, remote_id, remote_version, error_class, error_code, error_message,
       marked_at, made_at, ended_at, superseded_by::text
FROM deliveries
WHERE tenant_id = $1 AND collection = $2 AND record_id = $3
ORDER BY delivery_id DESC
LIMIT $4

-- name: attempts
SELECT n, at, operation, request, status, reply, outcome, took_ms
FROM attempts
WHERE tenant_id = $1 AND delivery_id = $2
ORDER BY n

-- name: counts
SELECT connection::text, state, count(*) AS deliveries
FROM deliveries
WHERE tenant_id = $1 AND (state <> 'superseded')
GROUP BY connection, state
