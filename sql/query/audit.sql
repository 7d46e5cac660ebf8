-- Audit events, read only.

-- name: audit_event_get
SELECT row_to_json(v) FROM api_audit_events v WHERE v.id = $1;
