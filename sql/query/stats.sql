-- Counts of the dashboard, exact by definition.

-- name: stats_summary
SELECT json_build_object(
    'total_certificates', c.total, 'expiring_certificates', c.expiring, 'expired_certificates', c.expired,
    'revoked_certificates', c.revoked, 'uncovered_certificates', (SELECT count(*) FROM api_certificates WHERE NOT covered),
    'active_agents', a.active, 'offline_agents', a.offline, 'total_agents', a.total,
    'pending_jobs', (SELECT count(*) FROM jobs),
    'failed_jobs', (SELECT count(*) FROM job_history WHERE status = 'Failed'),
    'complete_jobs', (SELECT count(*) FROM job_history WHERE status = 'Completed'),
    'notifications_dead', 0, 'completed_at', now())
  FROM (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Expiring') AS expiring,
               count(*) FILTER (WHERE status = 'Expired') AS expired, count(*) FILTER (WHERE status = 'Revoked') AS revoked
          FROM managed_certificates WHERE status <> 'Archived') c,
       (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Online') AS active,
               count(*) FILTER (WHERE status IN ('Offline', 'Degraded')) AS offline
          FROM agents WHERE retired_at IS NULL) a;
