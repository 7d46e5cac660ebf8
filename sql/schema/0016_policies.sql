-- When a certificate counts as expiring, who renews it, what a policy covers, and
-- how often a certificate may be issued.

-- The validity of a certificate includes its last second (RFC 5280 4.1.2.5).
-- Without a notBefore it counts as 90 days.
CREATE FUNCTION certificate_lifetime(valid_from timestamptz, valid_until timestamptz) RETURNS interval LANGUAGE sql IMMUTABLE AS
$$ SELECT valid_until - coalesce(valid_from, valid_until - interval '2160 hours') + interval '1 second' $$;

-- How much of its life is left when a limit of so many days is reached; below 90
-- days of lifetime the limit is a share of it.
CREATE FUNCTION expiry_limit(lifetime interval, days int, share int) RETURNS interval LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN lifetime >= interval '90 days' THEN make_interval(days => days) ELSE lifetime / share END $$;

-- The one place that decides it: for statuses, counts and alerts.
CREATE FUNCTION expiry_status(valid_from timestamptz, valid_until timestamptz, at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS
$$
SELECT CASE WHEN valid_until <= at THEN 'expired'
            WHEN valid_until - at <= expiry_limit(certificate_lifetime(valid_from, valid_until), 7, 10) THEN 'expiring'
            WHEN valid_until - at <= expiry_limit(certificate_lifetime(valid_from, valid_until), 30, 3) THEN 'expiring_soon'
            ELSE 'valid' END
$$;

-- The same as the status of a managed certificate that nobody is renewing.
CREATE FUNCTION status_by_date(valid_from timestamptz, valid_until timestamptz) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT CASE expiry_status(valid_from, valid_until, now()) WHEN 'expired' THEN 'Expired' WHEN 'valid' THEN 'Active' ELSE 'Expiring' END
$$;

-- Methods of renewal policies. issuer_type: a policy of this method renews with
-- issuers of this type only; served: there is a connector of that type. needs: what
-- automatic renewal cannot do without, and what an issuer calls it, which supplies it.
CREATE TABLE renewal_methods (
    method       text PRIMARY KEY,
    name         text NOT NULL,
    renews       boolean NOT NULL,
    issuer_type  text,
    served       boolean NOT NULL,
    needs        text[] NOT NULL DEFAULT '{}',
    of_issuer    text[] NOT NULL DEFAULT '{}'
);
INSERT INTO renewal_methods (method, name, renews, issuer_type, served, needs, of_issuer) VALUES
    ('issuer', 'the issuer', true, NULL, true, '{}', '{}'),
    ('acme', 'ACME', true, 'acme', true, '{acme_directory_url,acme_account_email}', '{directory_url,email}'),
    ('ad_cs', 'AD CS', true, 'ad_cs', false, '{ad_cs_template_name,ad_cs_ca_name}', '{template,ca_name}'),
    ('manual', 'hand', false, NULL, false, '{}', '{}'),
    ('none', 'nobody', false, NULL, false, '{}', '{}');

ALTER TABLE renewal_policies
    ADD COLUMN acme_directory_url   text,
    ADD COLUMN acme_account_email   text,
    ADD COLUMN ad_cs_template_name  text,
    ADD COLUMN ad_cs_ca_name        text;

-- A certificate that names no issuer gets its policy's.
ALTER TABLE managed_certificates ALTER COLUMN issuer_id DROP NOT NULL;

-- Why an issuer cannot renew under a policy of this method; NULL: it can.
CREATE FUNCTION method_refusal(p_method text, p_policy text, p_issuer text) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT CASE
    WHEN NOT m.renews
        THEN format('the method of renewal policy %s is %s, which does not renew', p_policy, p_method)
    WHEN p_issuer IS NULL AND m.issuer_type IS NULL
        THEN format('neither the certificate nor renewal policy %s names an issuer: set issuer_id of one of them', p_policy)
    WHEN p_issuer IS NULL AND NOT m.served
        THEN format('renewal policy %s renews by %s, and this version has no connector for it', p_policy, m.name)
    WHEN p_issuer IS NULL
        THEN format('renewal policy %s renews by %s: set its issuer_id, or the certificate''s, to an issuer of type %s',
                    p_policy, m.name, m.issuer_type)
    WHEN i.type <> m.issuer_type
        THEN format('renewal policy %s renews by %s, but issuer %s is of type %s: name a policy of method issuer, or another issuer',
                    p_policy, m.name, p_issuer, i.type)
    END
  FROM renewal_methods m LEFT JOIN issuers i ON i.id = p_issuer WHERE m.method = p_method
$$;

-- Why a policy does not renew a certificate; NULL: it does. The certificate's own
-- issuer comes before the policy's.
CREATE FUNCTION renewal_refusal(c managed_certificates, p renewal_policies) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT CASE
    WHEN (p).id IS NULL THEN 'no renewal policy applies: name one, or create a default policy'
    WHEN NOT (p).is_active THEN format('renewal policy %s is not active', (p).id)
    WHEN (p).method <> 'issuer' OR (c).issuer_id IS NULL
        THEN method_refusal((p).method, (p).id, coalesce((c).issuer_id, (p).issuer_id))
    END
$$;

CREATE OR REPLACE FUNCTION certificate_issuer(p_certificate_id text) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT coalesce(c.issuer_id, p.issuer_id)
  FROM managed_certificates c LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
 WHERE c.id = p_certificate_id
$$;

-- When a certificate renews by itself; NULL: it does not.
CREATE FUNCTION renewal_due(c managed_certificates, p renewal_policies) RETURNS timestamptz LANGUAGE sql STABLE AS
$$
SELECT CASE
    WHEN (c).expires_at IS NULL OR (c).status IN ('Revoked', 'Archived') OR NOT (p).auto_renew OR renewal_refusal(c, p) IS NOT NULL THEN NULL
    ELSE renewal_time((c).id, (c).not_before, (c).expires_at, (p).renewal_window_days) END
$$;

-- A policy that a certificate names must fit its issuer, and where it names no
-- issuer its policy must supply one.
CREATE FUNCTION certificate_issuer_check(c managed_certificates, p renewal_policies) RETURNS void LANGUAGE plpgsql STABLE AS
$$
DECLARE
    why text;
BEGIN
    IF c.issuer_id IS NULL THEN
        IF p.id IS NULL OR (p.issuer_id IS NULL AND (SELECT m.issuer_type IS NULL FROM renewal_methods m WHERE m.method = p.method)) THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/issuer_id', MESSAGE = 'issuer_id is required: '
                || CASE WHEN p.id IS NULL THEN 'no renewal policy applies' ELSE format('renewal policy %s names no issuer', p.id) END;
        END IF;
    ELSIF c.renewal_policy_id IS NOT NULL AND p.method <> 'issuer'
          AND EXISTS (SELECT FROM renewal_methods m WHERE m.method = p.method AND m.renews)
    THEN
        why := method_refusal(p.method, p.id, c.issuer_id);
        IF why IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/renewal_policy_id', MESSAGE = why;
        END IF;
    END IF;
END
$$;

-- renew_at follows every change of validity, policy, issuer or scope.
CREATE OR REPLACE FUNCTION certificate_set_renew_at() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    p renewal_policies;
BEGIN
    SELECT * INTO p FROM policy_of(NEW.renewal_policy_id, NEW.organization_id);
    IF TG_OP = 'INSERT' OR (NEW.issuer_id, NEW.renewal_policy_id, NEW.organization_id)
                              IS DISTINCT FROM (OLD.issuer_id, OLD.renewal_policy_id, OLD.organization_id) THEN
        PERFORM certificate_issuer_check(NEW, p);
    END IF;
    NEW.renew_at := renewal_due(NEW, p);
    RETURN NEW;
END
$$;
DROP TRIGGER renew_at ON managed_certificates;
CREATE TRIGGER renew_at BEFORE INSERT OR UPDATE OF expires_at, not_before, renewal_policy_id, organization_id, issuer_id, status
    ON managed_certificates FOR EACH ROW EXECUTE FUNCTION certificate_set_renew_at();

-- For the deletion of a policy, and the certificates that it names.
CREATE INDEX managed_certificates_policy ON managed_certificates (renewal_policy_id);

-- When a policy is created, changed or deleted: renew_at of the certificates that
-- it applies to, or applied to. Deferred, so that a default policy and its
-- successor cost one pass.
CREATE OR REPLACE FUNCTION policy_changed() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    p renewal_policies := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    UPDATE managed_certificates c SET renew_at = n.renew_at
      FROM (SELECT m.id, renewal_due(m, a) AS renew_at
              FROM managed_certificates m LEFT JOIN LATERAL policy_of(m.renewal_policy_id, m.organization_id) a ON true
             WHERE m.renewal_policy_id = p.id
                OR (m.renewal_policy_id IS NULL AND (m.organization_id = p.organization_id OR p.is_default
                                                     OR (TG_OP = 'UPDATE' AND OLD.is_default)))) n
     WHERE c.id = n.id AND c.renew_at IS DISTINCT FROM n.renew_at;
    RETURN NULL;
END
$$;
DROP TRIGGER policy_changed ON renewal_policies;
CREATE CONSTRAINT TRIGGER policy_changed
    AFTER INSERT OR DELETE OR UPDATE OF renewal_window_days, auto_renew, is_active, is_default, method, issuer_id
    ON renewal_policies DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION policy_changed();

-- What its method asks of a policy, and of the certificates that name it.
CREATE FUNCTION policy_method() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    m     renewal_methods;
    own   issuers;
    need  record;
    other record;
BEGIN
    SELECT * INTO m FROM renewal_methods r WHERE r.method = NEW.method;
    SELECT * INTO own FROM issuers s WHERE s.id = NEW.issuer_id;

    FOR need IN SELECT n.field, to_jsonb(NEW) ->> n.field AS value, nullif(own.config ->> n.of_issuer, '') AS of_issuer
                  FROM unnest(m.needs, m.of_issuer) AS n(field, of_issuer)
    LOOP
        IF NEW.auto_renew AND need.value IS NULL AND own.id IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/' || need.field,
                MESSAGE = format('automatic renewal by %s needs %s', m.name, need.field);
        ELSIF need.value <> need.of_issuer AND own.type = m.issuer_type THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/' || need.field,
                MESSAGE = format('%s is not the one of issuer %s, which renews: leave it out', need.field, own.id);
        END IF;
    END LOOP;

    IF m.issuer_type <> own.type THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/issuer_id',
            MESSAGE = format('a policy of method %s needs an issuer of type %s', m.method, m.issuer_type);
    END IF;

    IF TG_OP = 'INSERT' OR (NEW.method, NEW.issuer_id) IS NOT DISTINCT FROM (OLD.method, OLD.issuer_id) THEN
        RETURN NEW;
    END IF;

    SELECT c.id, c.issuer_id INTO other FROM managed_certificates c LEFT JOIN issuers i ON i.id = c.issuer_id
     WHERE c.renewal_policy_id = NEW.id AND c.status <> 'Archived'
       AND (i.type <> m.issuer_type OR (m.issuer_type IS NULL AND c.issuer_id IS NULL AND NEW.issuer_id IS NULL))
     ORDER BY c.id LIMIT 1;
    IF other.issuer_id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/method',
            MESSAGE = format('certificate %s names this policy: %s', other.id, method_refusal(NEW.method, NEW.id, other.issuer_id));
    ELSIF other.id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/issuer_id',
            MESSAGE = format('certificate %s names this policy and no issuer: give it one first', other.id);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER policy_method BEFORE INSERT OR UPDATE OF method, issuer_id, auto_renew, acme_directory_url, acme_account_email,
                                                     ad_cs_template_name, ad_cs_ca_name
    ON renewal_policies FOR EACH ROW EXECUTE FUNCTION policy_method();

-- How often a certificate may be issued within 24 hours: the configured number,
-- and for one that lives less than two days twice what its lifetime needs besides.
CREATE FUNCTION issuance_limit(p_certificate text, p_configured int) RETURNS int LANGUAGE sql STABLE AS
$$
SELECT p_configured + floor(2 * 86400 / greatest(1, least(coalesce(f.max_ttl_seconds, 7776000),
           extract(epoch FROM certificate_lifetime(c.not_before, c.expires_at)))))::int
  FROM managed_certificates c LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
  LEFT JOIN certificate_profiles f ON f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
 WHERE c.id = p_certificate
$$;

-- A renewal that is not to be stopped by the daily limit.
ALTER TABLE renewal_attempts ADD COLUMN override_limit boolean NOT NULL DEFAULT false;

-- Whether a certificate may be issued now by an attempt (NULL: by a new one): how
-- often others have issued it within 24 hours, how often they may, and after how
-- many seconds it may be issued again (0: now). For the schedule, what people
-- asked for does not count.
CREATE FUNCTION issuance_allowed(p_certificate text, p_attempt text, p_configured int, OUT issued int, OUT allowed int, OUT wait int)
    LANGUAGE plpgsql STABLE AS
$$
DECLARE
    self   renewal_attempts;
    recent timestamptz[];
BEGIN
    SELECT * INTO self FROM renewal_attempts a WHERE a.id = p_attempt;
    recent := ARRAY(
        SELECT max(v.created_at) FROM certificate_versions v JOIN orders o ON o.id = v.order_id JOIN renewal_attempts a ON a.id = o.attempt_id
         WHERE v.certificate_id = p_certificate AND v.created_at > now() - interval '1 day' AND a.id IS DISTINCT FROM p_attempt
           AND (a.requested_by = 'system' OR self.requested_by IS DISTINCT FROM 'system')
         GROUP BY a.id ORDER BY 1 DESC);
    issued := cardinality(recent);
    allowed := issuance_limit(p_certificate, p_configured);
    wait := CASE WHEN issued < allowed OR self.override_limit THEN 0
                 ELSE greatest(1, ceil(extract(epoch FROM recent[allowed] + interval '1 day' - now())))::int END;
END
$$;

-- First data is applied once: what was deleted does not come back with a restart.
INSERT INTO schema_migrations (name) SELECT 'base.sql' WHERE EXISTS (SELECT FROM authorities) ON CONFLICT DO NOTHING;

CREATE OR REPLACE VIEW api_renewal_policies AS
SELECT id, name, organization_id, is_default, issuer_id, certificate_profile_id, method, auto_renew, auto_renew AS auto_renew_enabled,
       renewal_window_days, renewal_window_days AS renew_before_days, max_retries, retry_interval_seconds, alert_thresholds_days,
       require_change_record, rollback_on_failure, max_concurrent_renewals, is_active, created_at, updated_at, default_target_ids,
       acme_directory_url, acme_account_email, ad_cs_template_name, ad_cs_ca_name
  FROM renewal_policies;

-- From here on the dates decide by the rule above.
UPDATE managed_certificates c SET renew_at = n.renew_at
  FROM (SELECT m.id, renewal_due(m, p) AS renew_at
          FROM managed_certificates m LEFT JOIN LATERAL policy_of(m.renewal_policy_id, m.organization_id) p ON true) n
 WHERE c.id = n.id AND c.renew_at IS DISTINCT FROM n.renew_at;
