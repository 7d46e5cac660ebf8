-- Agents: hosts that run the module.

-- name: agent_create
INSERT INTO agents (id, name, kind, url, fingerprint, trust_first_use)
VALUES (coalesce($1::jsonb ->> 'id', new_id('ag-')), $1::jsonb ->> 'name', coalesce($1::jsonb ->> 'kind', 'nginx-module'),
        $1::jsonb ->> 'url', $1::jsonb ->> 'fingerprint', coalesce(($1::jsonb ->> 'trust_on_first_use')::boolean, false))
RETURNING id;

-- A new address or fingerprint is a new first contact: a host that was set up
-- anew is met by its new pin, and given a new identity. One that is under way
-- with the old begins anew: its next try may be far, or the last.
-- name: agent_update
WITH changed AS (
    UPDATE agents t
       SET name = b.name, organization_id = b.organization_id, url = b.url, probe_address = b.probe_address, fingerprint = b.fingerprint,
           hostname = b.hostname,
           enrolled_at = CASE WHEN met.again THEN NULL ELSE t.enrolled_at END,
           status = CASE WHEN met.again AND t.status <> 'Retired' THEN 'Pending' ELSE t.status END
      FROM agents o, jsonb_populate_record(o, $2::jsonb) b,
           LATERAL (SELECT b.url IS DISTINCT FROM o.url OR b.fingerprint IS DISTINCT FROM o.fingerprint AS again) AS met
     WHERE t.id = $1 AND o.id = t.id
    RETURNING t.id, met.again AND t.status <> 'Retired' AS again
), job AS (
    INSERT INTO jobs (type, subject, agent_id, max_attempts, priority)
    SELECT 'Enrolment', id, id, 10, 30 FROM changed WHERE again
    ON CONFLICT (type, subject) DO UPDATE SET status = 'Pending', epoch = jobs.epoch + 1, attempts = 0, max_attempts = excluded.max_attempts,
          priority = excluded.priority, scheduled_at = now(), lease_until = NULL
)
SELECT id FROM changed;

-- What stands on an agent, as the answer of a refused retirement shows it, and the
-- certificates that have no enabled target without it, at most 1000 of them.
-- name: agent_counts
WITH mapped AS (
    SELECT DISTINCT c.id
      FROM managed_certificates c
      JOIN certificate_target_mappings m ON m.certificate_id = c.id
      JOIN deployment_targets t ON t.id = m.target_id
     WHERE t.agent_id = $1 AND t.retired_at IS NULL AND c.status NOT IN ('Archived', 'Revoked')
), without AS (
    SELECT id FROM mapped
     WHERE NOT EXISTS (SELECT FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
                        WHERE m.certificate_id = mapped.id AND t.agent_id <> $1 AND t.enabled AND t.retired_at IS NULL)
)
SELECT json_build_object(
           'active_targets', (SELECT count(*) FROM deployment_targets t WHERE t.agent_id = a.id AND t.retired_at IS NULL),
           'active_certificates', (SELECT count(*) FROM mapped),
           'certificates_without_target', (SELECT count(*) FROM without),
           'pending_jobs', (SELECT count(*) FROM jobs j WHERE j.agent_id = a.id
                                OR j.target_id IN (SELECT t.id FROM deployment_targets t WHERE t.agent_id = a.id))) AS counts,
       a.retired_at IS NOT NULL AS retired,
       EXISTS (SELECT FROM deployment_targets t WHERE t.agent_id = a.id AND t.retired_at IS NULL) AS blocked,
       to_json(ARRAY(SELECT id FROM without ORDER BY id LIMIT 1000)) AS without_target
  FROM agents a WHERE a.id = $1 FOR UPDATE;

-- The agent and its targets retire; its open jobs end as cancelled.
-- name: agent_retire
WITH targets AS (
    UPDATE deployment_targets SET retired_at = now(), retired_reason = $2, enabled = false
     WHERE agent_id = $1 AND retired_at IS NULL RETURNING id
), unmapped AS (
    DELETE FROM certificate_target_mappings m USING targets t WHERE m.target_id = t.id
), undefaulted AS (
    UPDATE renewal_policies p
       SET default_target_ids = ARRAY(SELECT d FROM unnest(p.default_target_ids) d WHERE d NOT IN (SELECT id FROM targets))
     WHERE p.default_target_ids && ARRAY(SELECT id FROM targets)
), gone AS (
    DELETE FROM jobs WHERE agent_id = $1 OR target_id IN (SELECT id FROM deployment_targets WHERE agent_id = $1) RETURNING jobs AS job
), kept AS (
    INSERT INTO job_history SELECT h.* FROM gone, job_close(job, 'Cancelled', 'the agent was retired') h
)
UPDATE agents SET retired_at = now(), retired_reason = $2, status = 'Retired' WHERE id = $1 RETURNING to_json(retired_at);
