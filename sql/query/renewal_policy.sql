-- Renewal policies: when, by which issuer and under which controls.

-- name: renewal_policy_get
SELECT row_to_json(v) FROM api_renewal_policies v WHERE v.id = $1;

-- A policy's scope never changes: it is set here.
-- name: renewal_policy_create
INSERT INTO renewal_policies (id, name, organization_id, is_default)
VALUES (coalesce($1::jsonb ->> 'id', new_id('rp-')), $1::jsonb ->> 'name', $1::jsonb ->> 'organization_id',
        coalesce(($1::jsonb ->> 'is_default')::boolean, false))
RETURNING id;

-- name: renewal_policy_update
UPDATE renewal_policies t
   SET name = b.name, issuer_id = b.issuer_id, certificate_profile_id = b.certificate_profile_id, method = b.method,
       auto_renew = b.auto_renew, renewal_window_days = b.renewal_window_days,
       max_retries = b.max_retries, retry_interval_seconds = b.retry_interval_seconds, alert_thresholds_days = b.alert_thresholds_days,
       require_change_record = b.require_change_record, rollback_on_failure = b.rollback_on_failure,
       max_concurrent_renewals = b.max_concurrent_renewals, is_active = b.is_active
  FROM renewal_policies o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: renewal_policy_delete
DELETE FROM renewal_policies WHERE id = $1 RETURNING id;
