-- Renewal policies, beside what works for any table.

-- name: policy_make_default
UPDATE renewal_policies SET is_default = true WHERE id = $1 AND organization_id IS NULL RETURNING id;
