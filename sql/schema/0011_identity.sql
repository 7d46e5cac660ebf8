-- Certificates of our own: what the end of one means for others.

-- An authority gives no certificate more time than it has itself: the attempt says
-- so, since the next renewal comes the sooner.
CREATE OR REPLACE VIEW api_renewal_attempts AS
SELECT a.id, a.certificate_id, a.status, a.method, a.job_id, a.rollback_job_id, a.requested_by, a.old_expiry, a.new_expiry, a.error,
       a.error AS error_message, a.started_at, a.completed_at, a.created_at,
       (SELECT format('the CA issued it until %s, ordered was %s: a certificate does not outlive its CA',
                      to_char(min(v.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                      to_char(min(o.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
          FROM orders o JOIN certificate_versions v ON v.id = o.version_id
         WHERE o.attempt_id = a.id AND v.not_after < o.not_after
        HAVING count(*) > 0) AS warning
  FROM renewal_attempts a;
