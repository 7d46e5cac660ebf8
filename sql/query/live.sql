-- Whether clients get what was deployed: 0015_live.sql has the rules.

-- Answers how many would be worse off by a report that was not read in full.
-- name: live_look
SELECT live_look($1, $2::timestamptz, $3::boolean, $4::boolean);

-- A page's records that no server block uses.
-- name: live_unserved
INSERT INTO unserved_records (agent_id, record, fingerprint_sha256, discovery_scan_id)
SELECT DISTINCT ON (s.name) $1, s.name, s.fingerprint, $3
  FROM jsonb_to_recordset($2::jsonb) AS s(name text, fingerprint text) WHERE s.name IS NOT NULL AND s.fingerprint IS NOT NULL
ON CONFLICT (agent_id, record) DO UPDATE SET fingerprint_sha256 = excluded.fingerprint_sha256, discovery_scan_id = excluded.discovery_scan_id;

-- name: live_unserved_end
DELETE FROM unserved_records WHERE agent_id = $1 AND discovery_scan_id <> $2;

-- A handshake has shown the version at the target. Where other server blocks are
-- known to serve something else, only their next report can say that this is over.
-- name: live_deployed
UPDATE certificate_target_mappings m
   SET fingerprint_sha256 = v.fingerprint_sha256, deployed_at = now(), live_due = true, live_next = NULL,
       live = CASE WHEN m.live = 'partly' THEN 'partly' ELSE 'yes' END,
       live_since = CASE WHEN m.live IN ('yes', 'partly') THEN m.live_since ELSE now() END,
       live_why = CASE WHEN m.live = 'partly' THEN m.live_why END,
       live_served = CASE WHEN m.live = 'partly' THEN m.live_served ELSE '[]' END
  FROM certificate_versions v
 WHERE v.id = $1 AND m.certificate_id = v.certificate_id AND m.target_id = $2;

-- What is adopted is served: that is where it was seen.
-- name: live_adopted
UPDATE certificate_target_mappings m
   SET fingerprint_sha256 = d.fingerprint_sha256, live = 'yes', live_since = now(), live_due = true
  FROM discovered_certificates d
 WHERE d.id = $1 AND d.source <> 'placeholder' AND m.certificate_id = $2 AND m.agent_id = d.agent_id AND m.fingerprint_sha256 IS NULL;

-- Certificates that clients do not get are due now: the renewal loop takes them, by
-- its rules. A certificate without renew_at is one that its policy does not renew.
-- name: loop_live
WITH lost AS (
    SELECT live_lost(make_interval(secs => 10 * $1::int))
), due AS (
    SELECT m.certificate_id, m.target_id
      FROM certificate_target_mappings m
      JOIN agents a ON a.id = m.agent_id AND a.status = 'Online'
      JOIN managed_certificates c ON c.id = m.certificate_id
     WHERE m.live_next <= now() AND c.renew_at IS NOT NULL AND c.status IN ('Active', 'Expiring', 'Expired', 'Failed')
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.certificate_id = c.id AND j.type IN ('Renewal', 'Issuance', 'Deployment'))
     ORDER BY m.live_next LIMIT 100
       FOR UPDATE OF c, m SKIP LOCKED
), tried AS (
    UPDATE certificate_target_mappings m SET live_tries = m.live_tries + 1, live_next = now() + live_wait(m.live_tries + 1)
      FROM due d WHERE (m.certificate_id, m.target_id) = (d.certificate_id, d.target_id)
), events AS (
    INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details)
    SELECT 'system', 'System', 'certificate_not_live_renewal_due', 'certificate', d.certificate_id, json_build_object('target_ids', json_agg(d.target_id))
      FROM due d GROUP BY d.certificate_id
)
UPDATE managed_certificates c SET renew_at = now()
 WHERE c.id IN (SELECT certificate_id FROM due) AND (SELECT count(*) FROM lost) = 1
RETURNING c.id;

-- The agent that a host says it is.
-- name: agent_of_host
SELECT name FROM agents WHERE id = $1 AND retired_at IS NULL AND enrolled_at IS NOT NULL;

-- name: agent_recovery_facts
SELECT retired_at IS NOT NULL AS retired, enrolled_at IS NOT NULL AS enrolled, fingerprint, url, kind FROM agents WHERE id = $1 FOR UPDATE;

-- name: agent_recovery_begin
UPDATE agents SET recovery_by = $2, recovery_type = $3, recovery_reason = $4, recovery_override = $5::boolean, next_poll_at = now(),
       poll_failures = 0
 WHERE id = $1;

-- What was deployed to the host.
-- name: agent_recovery_certificates
SELECT coalesce(json_agg(DISTINCT m.certificate_id), '[]') FROM certificate_target_mappings m
  JOIN managed_certificates c ON c.id = m.certificate_id AND c.status NOT IN ('Archived', 'Revoked')
 WHERE m.agent_id = $1 AND m.fingerprint_sha256 IS NOT NULL;

-- name: agent_recovery
SELECT recovery_by, recovery_type, recovery_reason, recovery_override FROM agents WHERE id = $1 AND recovery_by IS NOT NULL FOR UPDATE;

-- name: agent_recovery_due
SELECT DISTINCT certificate_id FROM live_seen($1, now(), false) WHERE renew ORDER BY certificate_id;

-- What a person has had renewed is not renewed by the loop as well.
-- name: agent_recovery_end
WITH done AS (
    UPDATE agents SET recovery_by = NULL, recovery_type = NULL, recovery_reason = NULL, recovery_override = false WHERE id = $1
)
UPDATE certificate_target_mappings SET live_next = now() + interval '1 hour' WHERE agent_id = $1 AND live_next <= now();
