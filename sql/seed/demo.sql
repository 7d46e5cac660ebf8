-- Demo data: something to look at in every list. Applied at each start with
-- --demo, harmless to repeat.
INSERT INTO organizations (id, name) VALUES
    ('org-retail', 'Retail'), ('org-payments', 'Payments')
ON CONFLICT DO NOTHING;

INSERT INTO teams (id, name, description) VALUES
    ('t-platform', 'Platform', 'Edge, ingress and certificates'),
    ('t-payments', 'Payments', 'Everything that moves money'),
    ('t-frontend', 'Frontend', 'Web shops')
ON CONFLICT DO NOTHING;

INSERT INTO owners (id, name, email, team_id) VALUES
    ('o-platform', 'Platform on call', 'platform@example.com', 't-platform'),
    ('o-payments', 'Payments on call', 'payments@example.com', 't-payments'),
    ('o-frontend', 'Frontend on call', 'frontend@example.com', 't-frontend')
ON CONFLICT DO NOTHING;

INSERT INTO certificate_profiles (id, name, description, allowed_key_algorithms, max_ttl_seconds, must_staple) VALUES
    ('prof-internal-mtls', 'Internal, 30 days', 'Services behind the edge', '[{"algorithm":"ECDSA","min_size":256}]', 2592000, false),
    ('prof-high-security', 'High security, 47 days', 'P-384 or RSA-4096, must-staple', '[{"algorithm":"ECDSA","min_size":384},{"algorithm":"RSA","min_size":4096}]', 4060800, true)
ON CONFLICT DO NOTHING;

INSERT INTO renewal_policies (id, name, renewal_window_days, alert_thresholds_days) VALUES
    ('rp-urgent', 'Urgent', 14, '{14,7,3,0}')
ON CONFLICT DO NOTHING;
INSERT INTO renewal_policies (id, name, auto_renew, method) VALUES
    ('rp-manual', 'Tracked by hand', false, 'manual')
ON CONFLICT DO NOTHING;

-- Without a target nobody renews them: they show the statuses.
INSERT INTO managed_certificates (id, name, common_name, sans, environment, owner_id, team_id, issuer_id, renewal_policy_id, status, expires_at, not_before, tags) VALUES
    ('mc-api-prod', 'api-production', 'api.example.com', '{api.example.com,api-v2.example.com}', 'production', 'o-platform', 't-platform', 'iss-local', 'rp-manual', 'Active', now() + interval '62 days', now() - interval '28 days', '{"service": "api"}'),
    ('mc-pay-prod', 'payments-production', 'pay.example.com', '{pay.example.com}', 'production', 'o-payments', 't-payments', 'iss-local', 'rp-manual', 'Active', now() + interval '11 days', now() - interval '79 days', '{"service": "payments", "pci": "true"}'),
    ('mc-shop-staging', 'shop-staging', 'shop.staging.example.com', '{shop.staging.example.com}', 'staging', 'o-frontend', 't-frontend', 'iss-local', 'rp-manual', 'Expired', now() - interval '3 days', now() - interval '93 days', '{"service": "shop"}')
ON CONFLICT DO NOTHING;
