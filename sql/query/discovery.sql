-- What was seen live, and the reports it came in.

-- name: discovered_certificate_dismiss
UPDATE discovered_certificates SET status = 'Dismissed', dismissed_at = now() WHERE id = $1 AND status <> 'Managed' RETURNING id;

-- name: discovery_summary
SELECT json_build_object('Unmanaged', count(*) FILTER (WHERE status = 'Unmanaged'), 'Managed', count(*) FILTER (WHERE status = 'Managed'),
                         'Dismissed', count(*) FILTER (WHERE status = 'Dismissed'))
  FROM discovered_certificates;
