-- Steps of an order at its CA: state, account, challenges.

-- name: order_step
UPDATE orders SET ca_state = coalesce($2::jsonb, ca_state), steps = steps + 1, failures = 0, last_error = NULL,
       next_at = now() + make_interval(secs => $3::int)
 WHERE id = $1;

-- name: order_waits
WITH waiting AS (
    UPDATE orders SET failures = failures + 1, last_error = $2, problem = coalesce($4::jsonb, problem),
           next_at = now() + make_interval(secs => $5::int)
     WHERE id = $1
)
UPDATE jobs SET last_error = $2 WHERE id = $3;

-- name: order_fault
UPDATE orders SET state = 'failed', last_error = $2, problem = coalesce($3::jsonb, problem) WHERE id = $1 AND state = 'ready';

-- The orders of an attempt that has failed, and the accounts that they hold.
-- name: order_end
WITH gone AS (
    UPDATE orders SET state = 'failed' WHERE attempt_id = $1 AND state IN ('new', 'ready')
)
UPDATE issuer_accounts SET order_id = NULL, locked_until = NULL WHERE order_id IN (SELECT id FROM orders WHERE attempt_id = $1);

-- The attempts whose orders the CA may still issue, to be revoked: of a revoked
-- certificate, or for a key of a revoked host.
-- name: order_left
SELECT DISTINCT o.attempt_id
  FROM orders o
  JOIN managed_certificates c ON c.id = o.certificate_id
  LEFT JOIN deployment_targets t ON t.id = o.target_id
  LEFT JOIN agents a ON a.id = t.agent_id
 WHERE o.certificate_id = $1 AND o.state = 'ready' AND (c.revoked_at IS NOT NULL OR a.revoked_at IS NOT NULL);

-- name: account_get
SELECT account FROM issuer_accounts WHERE issuer_id = $1;

-- No row: another order has it.
-- name: account_lock
INSERT INTO issuer_accounts AS a (issuer_id, order_id, locked_until) VALUES ($1, $2, now() + make_interval(secs => $3::int))
ON CONFLICT (issuer_id) DO UPDATE SET order_id = excluded.order_id, locked_until = excluded.locked_until
 WHERE a.order_id IS NULL OR a.order_id = excluded.order_id OR a.locked_until < now()
RETURNING account;

-- name: account_store
UPDATE issuer_accounts SET account = $3 WHERE issuer_id = $1 AND order_id = $2 RETURNING issuer_id;

-- name: account_release
UPDATE issuer_accounts SET order_id = NULL, locked_until = NULL WHERE issuer_id = $1 AND order_id = $2;

-- name: issuer_pause
INSERT INTO issuer_accounts AS a (issuer_id, paused_until, pause_reason) VALUES ($1, now() + make_interval(secs => $2::int), $3)
ON CONFLICT (issuer_id) DO UPDATE SET paused_until = greatest(a.paused_until, excluded.paused_until), pause_reason = excluded.pause_reason;

-- On each host that the certificate is deployed to, or where a server block has
-- the name.
-- name: challenge_plan
INSERT INTO challenges (order_id, agent_id, type, name, value)
SELECT $1, a.id, $2, $3, $4 FROM agents a
 WHERE a.kind = 'nginx-module' AND a.status <> 'Retired' AND a.enrolled_at IS NOT NULL
   AND (a.id IN (SELECT t.agent_id FROM orders o JOIN certificate_target_mappings m ON m.certificate_id = o.certificate_id
                   JOIN deployment_targets t ON t.id = m.target_id WHERE o.id = $1 AND t.enabled AND t.retired_at IS NULL)
        OR a.id IN (SELECT d.agent_id FROM discovered_certificates d WHERE $5 = ANY (d.server_names)))
ON CONFLICT (order_id, agent_id, type, name) DO UPDATE SET value = excluded.value, state = 'planned'
RETURNING id;

-- Those that a host has to be told of, again after half of their lifetime there.
-- name: challenge_due
SELECT h.id, h.agent_id, h.type, h.name, h.value, a.status = 'Online' AS online,
       (SELECT count(*) FROM challenges o WHERE (o.order_id, o.type, o.name) = (h.order_id, h.type, h.name) AND o.state = 'placed') AS placed
  FROM challenges h JOIN agents a ON a.id = h.agent_id
 WHERE h.order_id = $1 AND a.status <> 'Retired'
   AND (h.state IN ('planned', 'placing') OR (h.state = 'placed' AND h.placed_at < now() - interval '12 hours'))
 ORDER BY a.status = 'Online' DESC, h.id;

-- name: challenge_placing
UPDATE challenges SET state = 'placing' WHERE id = $1;

-- name: challenge_placed
UPDATE challenges SET state = 'placed', placed_at = now() WHERE id = $1;

-- One challenge of an order, or all of them; what no host was told of just goes.
-- name: challenge_leave
WITH unknown AS (
    DELETE FROM challenges WHERE order_id = $1 AND state = 'planned' AND ($2::text IS NULL OR (type, name) = ($2, $3))
)
UPDATE challenges SET state = 'leaving' WHERE order_id = $1 AND state <> 'planned' AND ($2::text IS NULL OR (type, name) = ($2, $3));

-- name: challenge_leaving
SELECT id, agent_id, type, name FROM challenges WHERE order_id = $1 AND state = 'leaving';

-- name: challenge_left
SELECT id, agent_id, type, name FROM challenges_left WHERE agent_id = $1;

-- name: challenge_gone
DELETE FROM challenges WHERE id = $1 AND state <> 'planned';

-- A host forgets a challenge after a day (its lifetime there), a retired one at once.
-- name: loop_challenges
WITH forgotten AS (
    DELETE FROM challenges WHERE id IN (SELECT h.id FROM challenges_left h JOIN agents a ON a.id = h.agent_id
        WHERE a.status = 'Retired' OR coalesce(h.placed_at, h.created_at) < now() - interval '25 hours')
)
INSERT INTO jobs (type, subject, agent_id, max_attempts, priority)
SELECT DISTINCT 'Validation', h.agent_id, h.agent_id, 5, 12 FROM challenges_left h JOIN agents a ON a.id = h.agent_id
 WHERE a.status = 'Online'
ON CONFLICT (type, subject) DO NOTHING
RETURNING id;

-- Enabled profiles that allow more seconds than these.
-- name: issuer_test_profiles
SELECT coalesce(string_agg(x.id, ', ' ORDER BY x.id), '')
  FROM (SELECT p.id FROM certificate_profiles p WHERE p.enabled AND p.max_ttl_seconds > $1::bigint ORDER BY p.id LIMIT 5) AS x;

-- name: issuer_tested
UPDATE issuers SET last_tested_at = now(), test_status = $2 WHERE id = $1 RETURNING to_json(last_tested_at) #>> '{}' AS at;
