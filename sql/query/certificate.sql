-- Managed certificates, their versions, attempts and deployments.

-- name: certificate_create
INSERT INTO managed_certificates (id, name, common_name, issuer_id, organization_id, renewal_policy_id, status, expires_at)
VALUES (coalesce($1::jsonb ->> 'id', new_id('mc-')), coalesce($1::jsonb ->> 'name', $1::jsonb ->> 'common_name'),
        $1::jsonb ->> 'common_name', $1::jsonb ->> 'issuer_id', $1::jsonb ->> 'organization_id', $1::jsonb ->> 'renewal_policy_id',
        coalesce($1::jsonb ->> 'status', 'Pending'),
        ($1::jsonb ->> 'expires_at')::timestamptz)
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
   SET name = b.name, common_name = b.common_name, sans = b.sans, environment = b.environment, organization_id = b.organization_id,
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

-- Archived: it stays readable, nothing renews it, its open jobs end.
-- name: certificate_delete
WITH gone AS (
    DELETE FROM jobs WHERE certificate_id = $1 AND type IN ('Issuance', 'Renewal', 'Deployment') RETURNING jobs AS job
), kept AS (
    INSERT INTO job_history SELECT h.* FROM gone, job_close(job, 'Cancelled', 'the certificate was archived') h
), closed AS (
    UPDATE renewal_attempts SET status = 'superseded', error = 'the certificate was archived', completed_at = now()
     WHERE certificate_id = $1 AND status IN ('pending', 'in_progress', 'awaiting_change_approval')
)
UPDATE managed_certificates SET status = 'Archived' WHERE id = $1 RETURNING id;

-- For the answer of deploy: the deployments that are open, and the issuance whose
-- version will be deployed.
-- name: certificate_deploy_jobs
SELECT coalesce(json_agg(id ORDER BY created_at, id), '[]') FROM jobs
 WHERE certificate_id = $1 AND type IN ('Deployment', 'Renewal', 'Issuance');

-- Those that no active renewal policy applies to.
-- name: certificates_uncovered
SELECT count(*) FROM api_certificates WHERE NOT covered;
