-- Which policy applies, and when a certificate is due.

-- The policy of a certificate: the one it names, else its organization's, else
-- the account default (domain rule 1).
CREATE FUNCTION policy_of(policy_id text, organization text) RETURNS SETOF renewal_policies LANGUAGE sql STABLE AS
$$
SELECT p.* FROM renewal_policies p
 WHERE p.id = policy_id
    OR (policy_id IS NULL AND p.organization_id = organization)
    OR (policy_id IS NULL AND p.is_default)
 ORDER BY p.id = policy_id DESC NULLS LAST, p.organization_id = organization DESC NULLS LAST
 LIMIT 1
$$;

-- The policy's window before expiry, but at most a third of the certificate's
-- own life (a 47-day or 6-day certificate must not renew for ever), moved later
-- by up to a tenth of that by the id's hash so that a fleet spreads, and never
-- later than 5 % of life left.
CREATE FUNCTION renewal_time(id text, valid_from timestamptz, valid_until timestamptz, window_days int)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$
SELECT least(valid_until - early + early * ((hashtext(id) & 1023) / 10240.0), valid_until - life * 0.05)
  FROM (SELECT l.life, least(make_interval(days => window_days), l.life / 3) AS early
          FROM (SELECT valid_until - coalesce(valid_from, valid_until - interval '90 days') AS life) AS l) AS w
$$;

-- renew_at follows every change of validity, policy or scope.
CREATE FUNCTION certificate_set_renew_at() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    p renewal_policies;
BEGIN
    SELECT * INTO p FROM policy_of(NEW.renewal_policy_id, NEW.organization_id);
    NEW.renew_at := CASE
        WHEN p.id IS NULL OR NOT p.is_active OR NOT p.auto_renew OR NEW.expires_at IS NULL
             OR NEW.status IN ('Revoked', 'Archived') THEN NULL
        ELSE renewal_time(NEW.id, NEW.not_before, NEW.expires_at, p.renewal_window_days) END;
    RETURN NEW;
END
$$;
CREATE TRIGGER renew_at BEFORE INSERT OR UPDATE OF expires_at, not_before, renewal_policy_id, organization_id, status
    ON managed_certificates FOR EACH ROW EXECUTE FUNCTION certificate_set_renew_at();

CREATE FUNCTION policy_changed() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE managed_certificates c SET renewal_policy_id = c.renewal_policy_id
     WHERE c.renewal_policy_id IN (OLD.id, NEW.id) OR c.renewal_policy_id IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_changed AFTER UPDATE OF renewal_window_days, auto_renew, is_active, is_default
    ON renewal_policies FOR EACH ROW EXECUTE FUNCTION policy_changed();

-- Wait after the n-th failure in a row: 1, 2, 4, 8, then 72 hours, but never
-- longer than a tenth of the life that is left (domain rule 4).
CREATE FUNCTION retry_wait(failures int, expires timestamptz) RETURNS interval LANGUAGE sql STABLE AS
$$
SELECT greatest(interval '1 minute',
                least(CASE WHEN failures >= 5 THEN interval '72 hours' ELSE interval '1 hour' * power(2, greatest(failures, 1) - 1) END,
                      CASE WHEN expires > now() THEN (expires - now()) / 10 ELSE interval '1 hour' END))
$$;

-- The names of a certificate as a request needs them: "DNS:a,IP:192.0.2.1".
CREATE FUNCTION certificate_sans_text(common_name text, sans text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
$$
SELECT string_agg(CASE WHEN n ~ '^(\d{1,3}\.){3}\d{1,3}$' OR n ~ ':' THEN 'IP:' ELSE 'DNS:' END || lower(n), ',' ORDER BY o)
  FROM (SELECT DISTINCT ON (lower(n)) n, o
          FROM unnest(array_prepend(common_name, sans)) WITH ORDINALITY AS u(n, o)
         ORDER BY lower(n), o) AS names
$$;

-- The rule of its profile or policy that keeps a certificate from being issued;
-- NULL: none. No path issues without the approval that a rule asks for (domain
-- rule 3), and this version records none.
CREATE FUNCTION certificate_rule(c managed_certificates, p renewal_policies) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT CASE
    WHEN p.require_change_record
        THEN 'renewal policy ' || p.id || ' asks for an approved change record, which this version cannot take'
    WHEN f.requires_approval
        THEN 'profile ' || f.id || ' asks for a second person''s approval, which this version cannot take'
    WHEN NOT f.enabled THEN 'profile ' || f.id || ' is disabled'
    WHEN NOT EXISTS (SELECT FROM jsonb_array_elements(f.allowed_key_algorithms) AS a
                      WHERE lower(a ->> 'algorithm') = CASE WHEN c.key_type LIKE 'ec-p%' THEN 'ecdsa'
                                                            WHEN c.key_type LIKE 'rsa-%' THEN 'rsa' ELSE c.key_type END
                        AND coalesce((a ->> 'min_size')::int, 0)
                            <= CASE WHEN c.key_type = 'ed25519' THEN 256 ELSE regexp_replace(c.key_type, '\D', '', 'g')::int END)
        THEN 'profile ' || f.id || ' does not allow keys of type ' || c.key_type
    END
  FROM certificate_profiles f
 WHERE f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
UNION ALL
SELECT 'renewal policy ' || p.id || ' asks for an approved change record, which this version cannot take'
 WHERE p.require_change_record AND coalesce(c.certificate_profile_id, p.certificate_profile_id) IS NULL
LIMIT 1
$$;
