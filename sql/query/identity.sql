-- Revocation of a host: the certificates whose keys it has, and those that other hosts serve too.

-- name: agent_revoke
UPDATE agents SET revoked_at = now(), revoked_reason = $2, revoked_code = $3::int WHERE id = $1 AND revoked_at IS NULL RETURNING retired_at IS NOT NULL;

-- name: agent_exists
SELECT id FROM agents WHERE id = $1;

-- Certificates that it serves or has a key of.
-- name: agent_revoke_affected
SELECT c.id FROM managed_certificates c
 WHERE c.status NOT IN ('Revoked', 'Archived')
   AND (EXISTS (SELECT FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
                 WHERE m.certificate_id = c.id AND t.agent_id = $1)
        OR EXISTS (SELECT FROM certificate_versions v JOIN deployment_targets t ON t.id = v.target_id
                    WHERE v.certificate_id = c.id AND t.agent_id = $1 AND v.not_after > now()))
 ORDER BY c.id FOR UPDATE;

-- Every certificate that could still be used, for a key that the host has.
-- name: agent_revoke_versions
WITH revoked AS (
    INSERT INTO certificate_revocations (certificate_id, issuer_id, serial_number, reason, reason_code, not_after, revoked_by)
    SELECT v.certificate_id, v.issuer_id, v.serial_number, $2, $3::int, v.not_after, $4
      FROM certificate_versions v
     WHERE v.not_after > now()
       AND v.spki_sha256 IN (SELECT h.spki_sha256 FROM certificate_versions h JOIN deployment_targets t ON t.id = h.target_id
                              WHERE t.agent_id = $1)
    ON CONFLICT (issuer_id, serial_number) DO NOTHING
    RETURNING certificate_id
), job AS (
    INSERT INTO jobs (type, subject, certificate_id, priority, requested_by)
    SELECT DISTINCT 'Revocation', certificate_id, certificate_id, 28, $4 FROM revoked
    ON CONFLICT (type, subject) DO NOTHING
)
SELECT count(*) FROM revoked;

-- Of the orders that CAs know those for keys of the host go on until they are
-- answered, the others make room for a renewal.
-- name: agent_revoke_orders
WITH host AS (
    SELECT o.id, (o.steps > 0 OR o.ca_state IS NOT NULL)
                 AND EXISTS (SELECT FROM deployment_targets t WHERE t.id = o.target_id AND t.agent_id = $2) AS its
      FROM orders o WHERE o.certificate_id = $1 AND o.state = 'ready'
), ended AS (
    UPDATE orders o SET state = 'failed', last_error = 'a host of the certificate was revoked' FROM host h WHERE o.id = h.id AND NOT h.its
)
INSERT INTO jobs (type, subject, certificate_id, priority, requested_by)
SELECT 'Revocation', $1, $1, 28, $3 WHERE EXISTS (SELECT FROM host WHERE its)
ON CONFLICT (type, subject) DO NOTHING;

-- name: agent_revoke_elsewhere
SELECT count(*) FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
 WHERE m.certificate_id = $1 AND t.enabled AND t.retired_at IS NULL;
