-- Counts of the dashboard, exact by definition.

-- name: stats_summary
SELECT json_build_object(
    'total_certificates', c.total, 'expiring_certificates', c.expiring, 'expired_certificates', c.expired,
    'revoked_certificates', c.revoked,
    'certificates_without_target', (SELECT count(*) FROM managed_certificates m WHERE m.status NOT IN ('Archived', 'Revoked')
        AND NOT EXISTS (SELECT FROM certificate_target_mappings t JOIN deployment_targets d ON d.id = t.target_id
                         WHERE t.certificate_id = m.id AND d.enabled AND d.retired_at IS NULL)),
    'uncovered_certificates', (SELECT count(*) FROM api_certificates WHERE NOT covered),
    'live_certificates', c.live, 'partly_live_certificates', c.partly, 'not_live_certificates', c.not_live,
    'live_unknown_certificates', c.unknown, 'active_agents', a.active, 'offline_agents', a.offline, 'total_agents', a.total,
    'pending_jobs', (SELECT count(*) FROM jobs),
    'failed_jobs', (SELECT count(*) FROM job_history WHERE status = 'Failed' AND completed_at > now() - interval '1 day'),
    'complete_jobs', (SELECT count(*) FROM job_history WHERE status = 'Completed' AND completed_at > now() - interval '1 day'),
    'notifications_dead', 0, 'completed_at', now())
  FROM (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Expiring') AS expiring,
               count(*) FILTER (WHERE status = 'Expired') AS expired, count(*) FILTER (WHERE status = 'Revoked') AS revoked,
               count(*) FILTER (WHERE live = 'yes' AND status <> 'Revoked') AS live,
               count(*) FILTER (WHERE live = 'partly' AND status <> 'Revoked') AS partly,
               count(*) FILTER (WHERE live = 'no' AND status <> 'Revoked') AS not_live,
               count(*) FILTER (WHERE live = 'unknown' AND status <> 'Revoked') AS unknown
          FROM managed_certificates WHERE status <> 'Archived') c,
       (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Online') AS active,
               count(*) FILTER (WHERE status IN ('Offline', 'Degraded')) AS offline
          FROM agents WHERE retired_at IS NULL) a;
