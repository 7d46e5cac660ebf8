-- Answers of POST requests that carry an Idempotency-Key.

-- The key's own row when it is old, and some of the other old ones.
-- name: idempotency_purge
DELETE FROM idempotency_keys
 WHERE created_at < now() - interval '24 hours'
   AND ((principal, key) = ($1, $2)
        OR ctid IN (SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' LIMIT 100 FOR UPDATE SKIP LOCKED));

-- Waits for a request under way that has the same key.
-- name: idempotency_begin
INSERT INTO idempotency_keys (principal, key, request) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING key;

-- name: idempotency_known
SELECT request, status, location, answer FROM idempotency_keys WHERE principal = $1 AND key = $2;

-- name: idempotency_end
UPDATE idempotency_keys SET status = $3::int, location = $4, answer = $5 WHERE principal = $1 AND key = $2;
