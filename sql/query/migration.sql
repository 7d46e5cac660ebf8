-- Which migrations a database has.

-- name: migration_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    name        text PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

-- name: migration_lock
SELECT pg_advisory_xact_lock(7163001);

-- name: migration_known
SELECT name FROM schema_migrations WHERE name = $1;

-- name: migration_add
INSERT INTO schema_migrations (name) VALUES ($1);
