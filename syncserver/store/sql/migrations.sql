-- The migrations that were applied, and the lock under which more are.

-- name: lock
SELECT pg_advisory_lock(1718839411)

-- name: unlock
SELECT pg_advisory_unlock(1718839411)

-- name: prepare
CREATE TABLE IF NOT EXISTS migrations (
  name       text        COLLATE "C" NOT NULL,
  checksum   text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (name)
)

-- name: applied
SELECT name, checksum FROM migrations ORDER BY name

-- name: record
INSERT INTO migrations (name, checksum) VALUES ($1, $2)
