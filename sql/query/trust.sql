-- The fleet CA and its replacement: which CAs are trusted, by whom.

-- Of an id, or of a state that one CA has at most.
-- name: authority_get
SELECT id, certificate, key FROM authorities WHERE id = $1 OR state = $1;

-- name: authority_id
SELECT new_id('fleet-');

-- name: authority_add
INSERT INTO authorities (id, state, certificate, key, not_after, overlap_days, used_at)
VALUES ($1, $2, $3, $4, to_timestamp($5::bigint), coalesce($6::int, 30), CASE $2 WHEN 'current' THEN now() END)
ON CONFLICT (id) DO NOTHING;

-- Whoever trusts an older ca.crt trusts the previous one.
-- name: authority_api
SELECT id FROM authorities WHERE state IN ('previous', 'current') ORDER BY state DESC LIMIT 1;

-- name: authority_trusted
SELECT string_agg(certificate, '' ORDER BY place), json_agg(fingerprint ORDER BY place)::text FROM trusted_authorities;

-- name: authority_due
SELECT authority_due();

-- name: authority_succeed
UPDATE authorities SET state = 'previous' WHERE state = 'current' RETURNING id;

-- name: authority_use
UPDATE authorities SET state = 'current', used_at = now() WHERE state = 'next' RETURNING id;

-- name: authority_withdraw
UPDATE authorities SET state = 'withdrawn', withdrawn_at = now() WHERE id = $1 RETURNING id;

-- What a person who asks for a step needs to know.
-- name: authority_waiting
SELECT state, (SELECT count(*) FROM trusted_authorities) AS trusted,
       (SELECT count(*) FROM fleet_hosts h, authorities c
         WHERE c.state = 'current' AND h.live AND (c.fingerprint <> ALL (h.trusted_cas) OR h.identity_ca IS DISTINCT FROM c.fingerprint)) AS waiting
  FROM authorities WHERE id = $1 FOR UPDATE;
