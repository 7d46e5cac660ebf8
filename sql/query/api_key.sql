-- API keys: only their hashes are here.

-- Whom a hash belongs to; revoked and expired keys are nobody's.
-- name: api_key_find
SELECT id, name, permissions, last_used_at IS NULL OR last_used_at < now() - interval '1 minute', hash
  FROM api_keys WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: api_key_used
UPDATE api_keys SET last_used_at = now()
 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: api_key_add
INSERT INTO api_keys (id, name, hash, permissions, expires_at, created_by)
SELECT coalesce($1::jsonb ->> 'id', new_id('key-')), $1::jsonb ->> 'name', $2,
       ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'permissions')), ($1::jsonb ->> 'expires_at')::timestamptz, $3
RETURNING id;

-- name: api_key_revoke
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id;

-- name: api_key_admin_exists
SELECT EXISTS (SELECT FROM api_keys WHERE '*' = ANY (permissions) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()));

-- name: api_key_admin_count
SELECT count(*) FROM api_keys WHERE name LIKE 'admin%';
