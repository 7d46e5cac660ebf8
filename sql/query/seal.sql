-- Sealing keys: which one seals, who has which, and what has to be sealed again.

-- The key that seals; the first one of the first start is it.
-- name: seal_current
WITH first AS (INSERT INTO seal_keys (id) SELECT $1 WHERE NOT EXISTS (SELECT FROM seal_keys) ON CONFLICT DO NOTHING RETURNING id, used_at)
SELECT id FROM (SELECT id, used_at FROM seal_keys UNION ALL SELECT id, used_at FROM first) k ORDER BY used_at DESC LIMIT 1;

-- name: seal_holds
WITH gone AS (DELETE FROM seal_key_holders WHERE seen_at < now() - interval '1 day' AND process <> $1)
INSERT INTO seal_key_holders (process, ids) VALUES ($1, $2::text[])
ON CONFLICT (process) DO UPDATE SET ids = excluded.ids, seen_at = now();

-- Keys that values need and $1 does not have, with how many and where.
-- name: seal_missing
SELECT seal_key_of(sealed) AS key, count(*), string_agg(DISTINCT place, ', ' ORDER BY place) AS places
  FROM sealed_values WHERE seal_key_of(sealed) <> '' AND seal_key_of(sealed) <> ALL ($1::text[]) GROUP BY 1 ORDER BY 1 LIMIT 1;

-- name: seal_key
SELECT cardinality(missing_in), array_to_string(missing_in, ', ') FROM api_seal_keys WHERE id = $1 AND cardinality(held_by) > 0;

-- name: seal_use
INSERT INTO seal_keys (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET used_at = now() RETURNING id;

-- What another key has sealed. Answers to requests are gone in a day.
-- name: seal_due
SELECT place, row_id, context, sealed FROM sealed_values
 WHERE context IS NOT NULL AND seal_key_of(sealed) <> $1 ORDER BY place, row_id LIMIT 50;

-- name: seal_replace
SELECT seal_replace($1, $2, $3, $4);
