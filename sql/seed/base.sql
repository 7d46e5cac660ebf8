-- What a first start needs to be useful: applied once, with ON CONFLICT DO NOTHING.
INSERT INTO certificate_profiles (id, name, description)
VALUES ('prof-standard-tls', 'Standard TLS', 'Server certificates of at most 90 days')
ON CONFLICT DO NOTHING;
INSERT INTO renewal_policies (id, name, is_default, alert_thresholds_days)
VALUES ('rp-default', 'Default', true, '{30,14,7,0}')
ON CONFLICT DO NOTHING;
