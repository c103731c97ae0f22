-- The four statements of a group. Arguments are arrays, one element a row; results of the reads are
-- arrays of rows, so that each is one statement whatever the group holds.
--
-- A table that grows is looked up by CROSS JOIN LATERAL (… OFFSET 0): for each key that is asked for,
-- by index. Left to choose, the planner turns the join round while it believes the table to be small,
-- and keeps that plan while it fills.

-- name: lock
-- The tenants' locks, and the list for row-level security. A statement of its own: a read in the
-- same statement would see the moment before the lock was got. $1 is ascending. The first lock is
-- waited for while nothing is held, the others are only tried; so two groups never wait for each other.
WITH locked AS MATERIALIZED (
  SELECT w.tenant_id,
         CASE WHEN w.place = 1 THEN pg_advisory_xact_lock($2, w.tenant_id)::text IS NOT NULL
              ELSE pg_try_advisory_xact_lock($2, w.tenant_id) END AS got
  FROM unnest($1::integer[]) WITH ORDINALITY AS w (tenant_id, place)
)
SELECT array_agg(tenant_id ORDER BY tenant_id) AS tenants,
       set_config('fieldsync.tenants', string_agg(tenant_id::text, ','), true)
FROM locked
WHERE got

-- name: read_heads
-- $1 tenant, $2 catalogue version held · $3 tenant, $4 rid · $5 tenant, $6 rid, $7 n ·
-- $8 tenant, $9 idempotency key · $10 tenant, $11 mark · $12 tenant, $13 older version not held ·
-- $14 tenant, $15 rid, $16 n of a held mutation
SELECT
  ARRAY(
    SELECT ROW(c.tenant_id, c.seq, c.hub_rid, c.catalog_version, g.content, p.vector)
    FROM unnest($1::integer[], $2::integer[]) AS w (tenant_id, held)
    JOIN counters AS c ON c.tenant_id = w.tenant_id
    LEFT JOIN catalogs AS g
      ON g.tenant_id = w.tenant_id AND g.version = c.catalog_version AND c.catalog_version <> w.held
    LEFT JOIN proofs AS p ON p.tenant_id = w.tenant_id
  ) AS counters,
  ARRAY(
    SELECT ROW(g.tenant_id, g.version, g.content)
    FROM unnest($12::integer[], $13::integer[]) AS w (tenant_id, version)
    JOIN counters AS c ON c.tenant_id = w.tenant_id
    JOIN catalogs AS g ON g.tenant_id = w.tenant_id AND g.version = w.version
    WHERE g.version < c.catalog_version
  ) AS older,
  ARRAY(
    SELECT ROW(r.tenant_id, r.rid, r.kind, r.applied, r.served, r.fenced, r.clock)
    FROM (
      SELECT * FROM unnest($3::integer[], $4::integer[])
      UNION
      SELECT c.tenant_id, c.hub_rid
      FROM unnest($1::integer[]) AS h (tenant_id)
      JOIN counters AS c ON c.tenant_id = h.tenant_id
    ) AS w (tenant_id, rid)
    CROSS JOIN LATERAL (
      SELECT * FROM replicas AS i WHERE i.tenant_id = w.tenant_id AND i.rid = w.rid OFFSET 0
    ) AS r
  ) AS replicas,
  ARRAY(
    SELECT ROW(l.tenant_id, l.rid, l.n, l.digest, l.verdict)
    FROM unnest($5::integer[], $6::integer[], $7::bigint[]) AS w (tenant_id, rid, n)
    CROSS JOIN LATERAL (
      SELECT * FROM ledger AS i WHERE i.tenant_id = w.tenant_id AND i.rid = w.rid AND i.n = w.n OFFSET 0
    ) AS l
  ) AS ledger,
  ARRAY(
    SELECT ROW(a.tenant_id, a.key, a.request_hash, a.verdict)
    FROM unnest($8::integer[], $9::text[]) AS w (tenant_id, key)
    CROSS JOIN LATERAL (
      SELECT * FROM remembered AS i WHERE i.tenant_id = w.tenant_id AND i.key = w.key OFFSET 0
    ) AS a
  ) AS remembered,
  ARRAY(
    SELECT m.mark::text
    FROM unnest($10::integer[], $11::text[]) AS w (tenant_id, mark)
    CROSS JOIN LATERAL (
      SELECT i.mark FROM marks AS i WHERE i.tenant_id = w.tenant_id AND i.mark = w.mark::uuid OFFSET 0
    ) AS m
  ) AS marks,
  ARRAY(
    SELECT ROW(h.tenant_id, h.rid, h.n)
    FROM unnest($14::integer[], $15::integer[], $16::bigint[]) AS w (tenant_id, rid, n)
    CROSS JOIN LATERAL (
      SELECT *
      FROM held AS i
      WHERE i.tenant_id = w.tenant_id AND i.rid = w.rid AND i.n = w.n AND i.state = 'waiting'
      OFFSET 0
    ) AS h
  ) AS waiting

-- name: read_records
-- $1 tenant, $2 collection, $3 id, $4 whether its scope may change · $5 persons who write
-- `below` is all that a record whose scope may change gives to, as far as edges go; `above` is what
-- gives to it. Closed intervals matter only of records that are written and of persons who write.
-- `held` are those of the named records whose create waits for a person.
WITH RECURSIVE named AS MATERIALIZED (
  SELECT w.tenant_id, w.collection COLLATE "C" AS collection, w.record_id::uuid AS record_id, w.walk
  FROM unnest($1::integer[], $2::text[], $3::text[], $4::boolean[]) AS w (tenant_id, collection, record_id, walk)
), below AS (
  SELECT n.tenant_id, n.collection, n.record_id
  FROM named AS n
  WHERE n.walk
  UNION
  SELECT e.tenant_id, e.taker_collection, e.taker_id
  FROM below AS b
  CROSS JOIN LATERAL (
    SELECT i.tenant_id, i.taker_collection, i.taker_id
    FROM edges AS i
    WHERE i.tenant_id = b.tenant_id AND i.giver_collection = b.collection AND i.giver_id = b.record_id
    OFFSET 0
  ) AS e
), above AS MATERIALIZED (
  SELECT e.tenant_id, e.giver_collection AS collection, e.giver_id AS record_id
  FROM named AS n
  CROSS JOIN LATERAL (
    SELECT i.tenant_id, i.giver_collection, i.giver_id
    FROM edges AS i
    WHERE i.tenant_id = n.tenant_id AND i.taker_collection = n.collection AND i.taker_id = n.record_id
      AND i.kind = 'parent'
    OFFSET 0
  ) AS e
  WHERE n.walk
), known AS MATERIALIZED (
  SELECT n.tenant_id, n.collection, n.record_id FROM named AS n
  UNION
  SELECT b.tenant_id, b.collection, b.record_id FROM below AS b
)
SELECT
  ARRAY(
    SELECT ROW(r.tenant_id, r.collection, r.record_id::text, r.rev, r.cells)
    FROM known AS k
    CROSS JOIN LATERAL (
      SELECT *
      FROM records AS i
      WHERE i.tenant_id = k.tenant_id AND i.collection = k.collection AND i.record_id = k.record_id
      OFFSET 0
    ) AS r
  ) AS records,
  ARRAY(
    SELECT ROW(m.tenant_id, m.collection, m.record_id::text, m.key, m.from_seq, m.to_seq, m.refcount)
    FROM (SELECT * FROM known UNION SELECT * FROM above) AS k
    CROSS JOIN LATERAL (
      SELECT *
      FROM memberships AS i
      WHERE i.tenant_id = k.tenant_id AND i.collection = k.collection AND i.record_id = k.record_id
        AND i.to_seq IS NULL
      OFFSET 0
    ) AS m
    UNION ALL
    SELECT ROW(m.tenant_id, m.collection, m.record_id::text, m.key, m.from_seq, m.to_seq, m.refcount)
    FROM named AS n
    CROSS JOIN LATERAL (
      SELECT *
      FROM memberships AS i
      WHERE i.tenant_id = n.tenant_id AND i.collection = n.collection AND i.record_id = n.record_id
        AND i.to_seq IS NOT NULL AND i.person = ANY ($5::text[])
      OFFSET 0
    ) AS m
  ) AS memberships,
  ARRAY(
    SELECT ROW(e.tenant_id, e.giver_collection, e.giver_id::text, e.field, e.taker_collection, e.taker_id::text, e.kind)
    FROM below AS b
    CROSS JOIN LATERAL (
      SELECT *
      FROM edges AS i
      WHERE i.tenant_id = b.tenant_id AND i.giver_collection = b.collection AND i.giver_id = b.record_id
      OFFSET 0
    ) AS e
  ) AS edges,
  ARRAY(
    SELECT ROW(n.tenant_id, n.collection, n.record_id::text)
    FROM named AS n
    CROSS JOIN LATERAL (
      SELECT
      FROM held AS i
      WHERE i.tenant_id = n.tenant_id AND i.collection = n.collection AND i.record_id = n.record_id::text
        AND i.state = 'waiting' AND i.op = 'create'
      LIMIT 1
    ) AS h
  ) AS held

-- name: write
-- All that the group did. A tenant's counter moves only from the number that was read under the
-- lock; the count of those that did is compared with the number of tenants. What vendors have to be
-- told is in here too, so that it is known exactly if the change is; `upstream/outbox.py` says what
-- the rows mean.
WITH counted AS (
  UPDATE counters AS c
  SET seq = g.seq
  FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS g (tenant_id, seq_read, seq)
  WHERE c.tenant_id = g.tenant_id AND c.seq = g.seq_read
  RETURNING c.tenant_id
), heard AS (
  UPDATE replicas AS r
  SET applied = g.applied, served = g.served, clock = g.clock, pushed_at = now()
  FROM unnest($4::integer[], $5::integer[], $6::bigint[], $7::bigint[], $8::bigint[])
    AS g (tenant_id, rid, applied, served, clock)
  WHERE r.tenant_id = g.tenant_id AND r.rid = g.rid
), known AS (
  INSERT INTO records (tenant_id, collection, record_id, rev, alive, fields, cells)
  SELECT g.tenant_id, g.collection, g.record_id::uuid, g.rev, g.alive, g.fields::jsonb, g.cells
  FROM unnest($9::integer[], $10::text[], $11::text[], $12::bigint[], $13::boolean[], $14::text[], $15::bytea[])
    AS g (tenant_id, collection, record_id, rev, alive, fields, cells)
  ON CONFLICT (tenant_id, collection, record_id) DO UPDATE
  SET rev = excluded.rev, alive = excluded.alive, fields = excluded.fields, cells = excluded.cells
), happened AS (
  INSERT INTO changes (
    tenant_id, seq, commit_seq, class, collection, record_id, op, rid, n, tx, person, authority, at, state, cells
  )
  SELECT g.tenant_id, g.seq, g.commit_seq, g.class, g.collection, g.record_id::uuid, g.op, g.rid, g.n, g.tx,
         g.person, g.authority, g.at, g.state, g.cells
  FROM unnest(
    $16::integer[], $17::bigint[], $18::bigint[], $19::smallint[], $20::text[], $21::text[], $22::text[],
    $23::integer[], $24::bigint[], $25::text[], $26::text[], $27::text[], $28::bigint[], $29::bytea[], $30::bytea[]
  ) AS g (
    tenant_id, seq, commit_seq, class, collection, record_id, op, rid, n, tx, person, authority, at, state, cells
  )
), told AS (
  INSERT INTO feed (tenant_id, reader, class, seq, commit_seq, op, collection, record_id, lifted)
  SELECT g.tenant_id, g.reader, g.class, g.seq, g.commit_seq, g.op, g.collection, g.record_id::uuid, g.lifted
  FROM unnest(
    $31::integer[], $32::text[], $33::smallint[], $34::bigint[], $35::bigint[], $36::text[], $37::text[],
    $38::text[], $39::boolean[]
  ) AS g (tenant_id, reader, class, seq, commit_seq, op, collection, record_id, lifted)
), settled AS (
  INSERT INTO ledger (tenant_id, rid, n, seq, person, digest, verdict, payload)
  SELECT g.*
  FROM unnest(
    $40::integer[], $41::integer[], $42::bigint[], $43::bigint[], $44::text[], $45::bytea[], $46::bytea[],
    $47::bytea[]
  ) AS g (tenant_id, rid, n, seq, person, digest, verdict, payload)
), disputed AS (
  INSERT INTO conflicts (
    tenant_id, conflict_id, seq, collection, record_id, cell, rule, state, entry, ended_rid, ended_n, ended_at
  )
  SELECT g.tenant_id, g.conflict_id, g.seq, g.collection, g.record_id::uuid, g.cell, g.rule, g.state, g.entry,
         g.ended_rid, g.ended_n, CASE WHEN g.ended_rid IS NOT NULL THEN now() END
  FROM unnest(
    $48::integer[], $49::text[], $50::bigint[], $51::text[], $52::text[], $53::text[], $54::text[], $55::text[],
    $56::bytea[], $57::integer[], $58::bigint[]
  ) AS g (tenant_id, conflict_id, seq, collection, record_id, cell, rule, state, entry, ended_rid, ended_n)
), ended AS (
  UPDATE conflicts AS c
  SET state = g.state, ended_rid = g.rid, ended_n = g.n, ended_at = now()
  FROM unnest($59::integer[], $60::text[], $61::text[], $62::integer[], $63::bigint[])
    AS g (tenant_id, conflict_id, state, rid, n)
  WHERE c.tenant_id = g.tenant_id AND c.conflict_id = g.conflict_id AND cardinality($59::integer[]) > 0
), holding AS (
  INSERT INTO memberships (tenant_id, collection, record_id, key, from_seq, to_seq, refcount, person)
  SELECT g.tenant_id, g.collection, g.record_id::uuid, g.key, g.from_seq, g.to_seq, g.refcount, g.person
  FROM unnest(
    $64::integer[], $65::text[], $66::text[], $67::text[], $68::bigint[], $69::bigint[], $70::integer[], $71::text[]
  ) AS g (tenant_id, collection, record_id, key, from_seq, to_seq, refcount, person)
  ON CONFLICT (tenant_id, collection, record_id, key, from_seq) DO UPDATE
  SET to_seq = excluded.to_seq, refcount = excluded.refcount
), joined AS (
  INSERT INTO edges (tenant_id, giver_collection, giver_id, field, taker_collection, taker_id, kind)
  SELECT g.tenant_id, g.giver_collection, g.giver_id::uuid, g.field, g.taker_collection, g.taker_id::uuid, g.kind
  FROM unnest(
    $72::integer[], $73::text[], $74::text[], $75::text[], $76::text[], $77::text[], $78::text[]
  ) AS g (tenant_id, giver_collection, giver_id, field, taker_collection, taker_id, kind)
), cut AS (
  DELETE FROM edges AS e
  USING unnest($79::integer[], $80::text[], $81::text[], $82::text[], $83::text[], $84::text[])
    AS g (tenant_id, giver_collection, giver_id, field, taker_collection, taker_id)
  WHERE e.tenant_id = g.tenant_id AND e.giver_collection = g.giver_collection AND e.giver_id = g.giver_id::uuid
    AND e.field = g.field AND e.taker_collection = g.taker_collection AND e.taker_id = g.taker_id::uuid
    AND cardinality($79::integer[]) > 0
), remembering AS (
  INSERT INTO remembered (tenant_id, key, request_hash, verdict)
  SELECT g.*
  FROM unnest($85::integer[], $86::text[], $87::bytea[], $88::bytea[]) AS g (tenant_id, key, request_hash, verdict)
), marked AS (
  INSERT INTO marks (tenant_id, mark)
  SELECT g.tenant_id, g.mark::uuid
  FROM unnest($89::integer[], $90::text[]) AS g (tenant_id, mark)
), pruned AS (
  DELETE FROM marks AS m
  USING unnest($1::integer[]) AS g (tenant_id)
  WHERE m.tenant_id = g.tenant_id AND m.mark < $91::text::uuid
), kept_back AS (
  INSERT INTO held (tenant_id, rid, n, seq, person, collection, record_id, op, code, schema, time, first, size)
  SELECT g.*
  FROM unnest(
    $93::integer[], $94::integer[], $95::bigint[], $96::bigint[], $97::text[], $98::text[], $99::text[], $100::text[],
    $101::text[], $102::integer[], $103::bigint[], $104::bigint[], $105::integer[]
  ) AS g (tenant_id, rid, n, seq, person, collection, record_id, op, code, schema, time, first, size)
), let_go AS (
  UPDATE held AS h
  SET state = 'released', ended_at = now(), ended_by = g.person, ended_rid = g.by_rid, ended_n = g.by_n
  FROM unnest($106::integer[], $107::integer[], $108::bigint[], $109::text[], $110::integer[], $111::bigint[])
    AS g (tenant_id, rid, n, person, by_rid, by_n)
  WHERE h.tenant_id = g.tenant_id AND h.rid = g.rid AND h.n = g.n AND cardinality($106::integer[]) > 0
), interested AS MATERIALIZED (
  -- One look for each tenant: where nobody wants to be told, this is all that the outbox costs.
  SELECT i.tenant_id, i.collection, i.connection, i.rid, i.fields
  FROM unnest($1::integer[]) AS g (tenant_id)
  CROSS JOIN LATERAL (SELECT * FROM interests AS s WHERE s.tenant_id = g.tenant_id OFFSET 0) AS i
), newer AS (
  -- What a connection has to be told: what others changed, and what of its own did not stand.
  SELECT i.tenant_id, i.connection, i.collection, n.record_id, n.seq, n.rid, n.correct
  FROM interested AS i
  CROSS JOIN LATERAL (
    SELECT g.record_id::uuid AS record_id, g.seq, g.rid, false AS correct
    FROM unnest($16::integer[], $17::bigint[], $20::text[], $21::text[], $23::integer[])
      AS g (tenant_id, seq, collection, record_id, rid)
    WHERE g.tenant_id = i.tenant_id AND g.collection = i.collection AND g.rid <> i.rid
    UNION ALL
    SELECT g.record_id::uuid, g.seq, g.rid, true
    FROM unnest($112::integer[], $113::text[], $114::text[], $115::bigint[], $116::integer[])
      AS g (tenant_id, collection, record_id, seq, rid)
    WHERE g.tenant_id = i.tenant_id AND g.collection = i.collection AND g.rid = i.rid
    OFFSET 0
  ) AS n
), queued AS (
  INSERT INTO outbox AS o (tenant_id, connection, collection, record_id, seq, from_seq, cause_rid, correct)
  SELECT n.tenant_id, n.connection, n.collection, n.record_id, max(n.seq), min(n.seq),
         (array_agg(n.rid ORDER BY n.seq DESC))[1], bool_or(n.correct)
  FROM newer AS n
  GROUP BY n.tenant_id, n.connection, n.collection, n.record_id
  ON CONFLICT (tenant_id, connection, collection, record_id) DO UPDATE
  SET seq = greatest(o.seq, excluded.seq), cause_rid = excluded.cause_rid, correct = o.correct OR excluded.correct,
      lane = 'live', due_at = now(), attempts = 0, waits_on = NULL, reason = ''
  RETURNING o.tenant_id
), looked_up AS (
  INSERT INTO lookups (tenant_id, collection, field, value, record_id)
  SELECT DISTINCT i.tenant_id, i.collection, f.field, g.state ->> f.field, g.record_id
  FROM interested AS i
  CROSS JOIN LATERAL unnest(i.fields) AS f (field)
  CROSS JOIN LATERAL (
    SELECT w.record_id::uuid AS record_id, convert_from(w.state, 'UTF8')::jsonb AS state
    FROM unnest($16::integer[], $20::text[], $21::text[], $29::bytea[]) AS w (tenant_id, collection, record_id, state)
    WHERE w.tenant_id = i.tenant_id AND w.collection = i.collection
    OFFSET 0
  ) AS g
  WHERE g.state ->> f.field IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT (SELECT count(*) FROM counted) AS counted,
       CASE WHEN $92::text <> '' THEN pg_notify('fieldsync', $92) END,
       CASE WHEN EXISTS (SELECT FROM queued)
            THEN pg_notify('fieldsync_work', (SELECT string_agg(DISTINCT q.tenant_id::text, ',') FROM queued AS q)) END
