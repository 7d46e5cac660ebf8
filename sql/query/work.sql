-- Jobs as the API shows them; job.sql is what works on them.

-- An open job ends; its holder's later writes fail on the epoch. What it was
-- doing for a certificate ends with it.
-- name: job_cancel
WITH gone AS (
    DELETE FROM jobs WHERE id = $1 RETURNING jobs AS job
), kept AS (
    INSERT INTO job_history SELECT h.* FROM gone, job_close(job, 'Cancelled', 'cancelled by ' || $2) h
), closed AS (
    UPDATE renewal_attempts a SET status = 'failed', error = 'cancelled by ' || $2, completed_at = now()
      FROM gone g WHERE (g.job).type IN ('Issuance', 'Renewal') AND a.id = (g.job).attempt_id
                    AND a.status IN ('pending', 'in_progress', 'awaiting_change_approval')
), shown AS (
    UPDATE managed_certificates c
       SET status = CASE WHEN c.expires_at IS NULL THEN 'Pending' ELSE status_by_date(c.not_before, c.expires_at) END
      FROM gone g WHERE (g.job).type IN ('Issuance', 'Renewal') AND c.id = (g.job).certificate_id AND c.status = 'RenewalInProgress'
)
SELECT (job).id FROM gone;
