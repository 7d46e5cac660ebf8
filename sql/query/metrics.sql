-- Counts for Prometheus, text format 0.0.4, of what there is at this moment.

-- name: metrics_prometheus
WITH certificate AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Active') AS active, count(*) FILTER (WHERE status = 'Expiring') AS expiring_soon,
           count(*) FILTER (WHERE status = 'Expired') AS expired, count(*) FILTER (WHERE status = 'Revoked') AS revoked,
           count(*) FILTER (WHERE status <> 'Revoked' AND live = 'yes') AS yes, count(*) FILTER (WHERE status <> 'Revoked' AND live = 'partly') AS partly,
           count(*) FILTER (WHERE status <> 'Revoked' AND live = 'no') AS no, count(*) FILTER (WHERE status <> 'Revoked' AND live = 'unknown') AS unknown
      FROM managed_certificates WHERE status <> 'Archived'
), agent AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE status = 'Online') AS online FROM agents WHERE retired_at IS NULL
), metric (place, name, help, samples) AS (
    SELECT 1, 'certctl_certificate_total', 'Managed certificates that are not archived.', ARRAY[' ' || total] FROM certificate UNION ALL
    SELECT 2, 'certctl_certificate_active', 'Certificates of status Active.', ARRAY[' ' || active] FROM certificate UNION ALL
    SELECT 3, 'certctl_certificate_expiring_soon', 'Certificates of status Expiring.', ARRAY[' ' || expiring_soon] FROM certificate UNION ALL
    SELECT 4, 'certctl_certificate_expired', 'Certificates of status Expired.', ARRAY[' ' || expired] FROM certificate UNION ALL
    SELECT 5, 'certctl_certificate_revoked', 'Certificates of status Revoked.', ARRAY[' ' || revoked] FROM certificate UNION ALL
    SELECT 6, 'certctl_certificate_live', 'Certificates by whether clients get them from their hosts, without revoked ones.',
           ARRAY['{live="yes"} ' || yes, '{live="partly"} ' || partly, '{live="no"} ' || no, '{live="unknown"} ' || unknown] FROM certificate UNION ALL
    SELECT 7, 'certctl_agent_total', 'Agents that are not retired.', ARRAY[' ' || total] FROM agent UNION ALL
    SELECT 8, 'certctl_agent_online', 'Agents whose last report was received.', ARRAY[' ' || online] FROM agent UNION ALL
    SELECT 9, 'certctl_job_pending', 'Open jobs.', ARRAY[' ' || count(*)] FROM jobs
)
SELECT string_agg(format(E'# HELP %s %s\n# TYPE %1$s gauge\n', name, help) || name || array_to_string(samples, E'\n' || name) || E'\n', '' ORDER BY place)
  FROM metric;
