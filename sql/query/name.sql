-- What names a certificate may have, and what else its profile says about it.

-- One row: the names, common_name first; the profile's sentence against it; whether
-- reserved names are allowed; who has rules of names, and which.
-- name: name_rules
SELECT to_jsonb(array_prepend(c.common_name, c.sans))::text AS names,
       CASE WHEN f.id IS NOT NULL THEN profile_rule(c, f) END AS rule,
       coalesce(f.allow_reserved_names, false) AS reserved,
       (SELECT coalesce(jsonb_agg(r), '[]') FROM (
            SELECT 'profile ' || f.id AS owner, 'required_san_patterns' AS allowed_field, f.required_san_patterns AS allowed,
                   f.denied_san_patterns AS denied WHERE f.id IS NOT NULL
            UNION ALL
            SELECT 'organization ' || o.id, 'allowed_san_patterns', o.allowed_san_patterns, o.denied_san_patterns WHERE o.id IS NOT NULL) r)::text AS rules
  FROM managed_certificates c
  LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
  LEFT JOIN certificate_profiles f ON f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
  LEFT JOIN organizations o ON o.id = c.organization_id
 WHERE c.id = $1;

-- What the profile of an order's certificate says of what a CA issues.
-- name: name_profile_bounds
SELECT f.id AS profile, to_jsonb(f.allowed_ekus)::text AS ekus, f.max_ttl_seconds, f.must_staple
  FROM orders r
  JOIN managed_certificates c ON c.id = r.certificate_id
  LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
  JOIN certificate_profiles f ON f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
 WHERE r.id = $1;
