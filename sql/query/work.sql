-- Jobs as the API shows them; job.sql is what works on them.

-- An open job ends; its holder's later writes fail on the epoch. What it was
-- doing for a certificate ends with it.
-- name: job_cancel
WITH gone AS (
    DELETE FROM jobs WHERE id = $1 RETURNING *
), kept AS (
    INSERT INTO job_history (id, type, status, subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority,
                             attempts, max_attempts, last_error, requested_by, epoch, worker, scheduled_at, started_at, created_at)
    SELECT id, type, 'Cancelled', subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority,
           attempts, max_attempts, 'cancelled by ' || $2, requested_by, epoch + 1, worker, scheduled_at, started_at, created_at
      FROM gone
), closed AS (
    UPDATE renewal_attempts a SET status = 'failed', error = 'cancelled by ' || $2, completed_at = now()
      FROM gone g WHERE g.type IN ('Issuance', 'Renewal') AND a.id = g.attempt_id
                    AND a.status IN ('pending', 'in_progress', 'awaiting_change_approval')
), shown AS (
    UPDATE managed_certificates c
       SET status = CASE WHEN c.expires_at IS NULL THEN 'Pending' WHEN c.expires_at <= now() THEN 'Expired' ELSE 'Active' END
      FROM gone g WHERE g.type IN ('Issuance', 'Renewal') AND c.id = g.certificate_id AND c.status = 'RenewalInProgress'
)
SELECT id FROM gone;
