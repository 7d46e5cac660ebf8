-- Managed certificates, their versions, attempts and deployments.

-- name: certificate_create
INSERT INTO managed_certificates (id, name, common_name, sans, key_type, issuer_id, organization_id, renewal_policy_id, status, expires_at)
SELECT coalesce(b.id, new_id('mc-')), coalesce(b.name, b.common_name), b.common_name, coalesce(b.sans, '{}'), coalesce(b.key_type, 'ec-p256'),
       b.issuer_id, b.organization_id, b.renewal_policy_id, stated_status(b.status, b.expires_at), b.expires_at
  FROM jsonb_populate_record(NULL::managed_certificates, $1::jsonb) b
RETURNING id;

-- target_ids, when given, is the whole list.
-- name: certificate_update
WITH dropped AS (
    DELETE FROM certificate_target_mappings m
     WHERE m.certificate_id = $1 AND $2::jsonb ? 'target_ids' AND NOT ($2::jsonb -> 'target_ids') ? m.target_id
), added AS (
    INSERT INTO certificate_target_mappings (certificate_id, target_id)
    SELECT $1, t FROM jsonb_array_elements_text(coalesce($2::jsonb -> 'target_ids', '[]')) t
    ON CONFLICT (certificate_id, target_id) DO NOTHING
)
UPDATE managed_certificates t
   SET name = coalesce(b.name, b.common_name), common_name = b.common_name, sans = b.sans, environment = b.environment, organization_id = b.organization_id,
       owner_id = b.owner_id, team_id = b.team_id, issuer_id = b.issuer_id, renewal_policy_id = b.renewal_policy_id,
       certificate_profile_id = b.certificate_profile_id, key_type = b.key_type, tags = b.tags
  FROM managed_certificates o, jsonb_populate_record(o, $2::jsonb - 'status' - 'expires_at') b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- Of one that was created without a target: those of the policy that applies.
-- name: certificate_default_targets
INSERT INTO certificate_target_mappings (certificate_id, target_id)
SELECT c.id, d.target_id
  FROM managed_certificates c, LATERAL policy_of(c.renewal_policy_id, c.organization_id) p
  JOIN renewal_policy_targets d ON d.renewal_policy_id = p.id
  JOIN deployment_targets t ON t.id = d.target_id AND t.retired_at IS NULL
 WHERE c.id = $1 AND NOT EXISTS (SELECT FROM certificate_target_mappings m WHERE m.certificate_id = c.id);

-- Archived: it stays readable, and nothing renews it. Its places are free, and its
-- targets may be deleted: their names are kept for a restoration.
-- name: certificate_archive
WITH unmapped AS (
    DELETE FROM certificate_target_mappings WHERE certificate_id = $1 RETURNING target_id
)
UPDATE managed_certificates SET status = 'Archived', archived_at = now(), archived_targets = ARRAY(SELECT target_id FROM unmapped ORDER BY 1)
 WHERE id = $1;

-- As it was, by its dates. $2: the targets it gets instead of those it had.
-- name: certificate_restore
WITH restored AS (
    UPDATE managed_certificates c
       SET status = CASE WHEN c.revoked_at IS NOT NULL THEN 'Revoked' WHEN c.expires_at IS NULL THEN 'Pending'
                         ELSE status_by_date(c.not_before, c.expires_at) END,
           archived_at = NULL, archived_targets = '{}'
      FROM managed_certificates o WHERE o.id = c.id AND c.id = $1
    RETURNING o.archived_targets
)
SELECT to_json(coalesce($2::jsonb, to_jsonb(ARRAY(SELECT t.id FROM deployment_targets t
                                                   WHERE t.id = ANY (archived_targets) AND t.retired_at IS NULL ORDER BY 1))))::text
  FROM restored;

-- name: certificate_map
INSERT INTO certificate_target_mappings (certificate_id, target_id) SELECT $1, t FROM jsonb_array_elements_text($2::jsonb) t
ON CONFLICT (certificate_id, target_id) DO NOTHING;

-- Where hosts have reported a version of it last: at most 100 places.
-- name: certificate_served
SELECT coalesce(json_agg(x), '[]')
  FROM (SELECT d.agent_id, d.place AS source_path, d.source, d.record, d.server_names, d.fingerprint_sha256, d.not_after, d.last_seen_at
          FROM discovered_certificates d WHERE d.managed_certificate_id = $1
         ORDER BY d.agent_id, d.place, d.fingerprint_sha256 LIMIT 100) x;

-- For the answer of deploy: the deployments that are open, and the issuance whose
-- version will be deployed.
-- name: certificate_deploy_jobs
SELECT coalesce(json_agg(id ORDER BY created_at, id), '[]') FROM jobs
 WHERE certificate_id = $1 AND type IN ('Deployment', 'Renewal', 'Issuance');

-- Those that no active renewal policy applies to.
-- name: certificates_uncovered
SELECT count(*) FROM api_certificates WHERE NOT covered;

-- Those that an automatic policy applies to and cannot renew, and one of them.
-- name: certificates_refused
SELECT count(*), min(c.id) FROM managed_certificates c, LATERAL policy_of(c.renewal_policy_id, c.organization_id) p
 WHERE c.renew_at IS NULL AND c.expires_at IS NOT NULL AND c.status NOT IN ('Revoked', 'Archived')
   AND p.is_active AND p.auto_renew AND renewal_refusal(c, p) IS NOT NULL;
