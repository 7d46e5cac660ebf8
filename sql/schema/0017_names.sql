-- What names a certificate may have: rules of its profile and its organization.

-- Patterns are PCRE2 and match a whole name in lower case. No allowed pattern
-- allows every name; a denied one wins.
ALTER TABLE organizations
    ADD COLUMN allowed_san_patterns text[] NOT NULL DEFAULT '{}',
    ADD COLUMN denied_san_patterns text[] NOT NULL DEFAULT '{}';

ALTER TABLE certificate_profiles
    ADD COLUMN denied_san_patterns text[] NOT NULL DEFAULT '{}',
    ADD COLUMN allow_reserved_names boolean NOT NULL DEFAULT false;

CREATE OR REPLACE VIEW api_organizations AS
SELECT id, name, created_at, updated_at, allowed_san_patterns, denied_san_patterns FROM organizations;

CREATE OR REPLACE VIEW api_profiles AS
SELECT id, name, description, allowed_key_algorithms, max_ttl_seconds, max_ttl_seconds / 86400 AS max_validity_days, allowed_ekus,
       required_san_patterns, allow_short_lived, must_staple, requires_approval, enabled, created_at, updated_at, denied_san_patterns,
       allow_reserved_names
  FROM certificate_profiles;

-- What a profile has against a certificate, beside its names; NULL: nothing.
CREATE FUNCTION profile_rule(c managed_certificates, f certificate_profiles) RETURNS text LANGUAGE sql IMMUTABLE AS
$$
SELECT CASE
    WHEN NOT f.enabled THEN 'profile ' || f.id || ' is disabled'
    WHEN NOT EXISTS (SELECT FROM jsonb_array_elements(f.allowed_key_algorithms) AS a
                      WHERE lower(a ->> 'algorithm') = CASE WHEN c.key_type LIKE 'ec-p%' THEN 'ecdsa'
                                                            WHEN c.key_type LIKE 'rsa-%' THEN 'rsa' ELSE c.key_type END
                        AND coalesce((a ->> 'min_size')::int, 0)
                            <= CASE WHEN c.key_type = 'ed25519' THEN 256 ELSE regexp_replace(c.key_type, '\D', '', 'g')::int END)
        THEN 'profile ' || f.id || ' does not allow keys of type ' || c.key_type
    WHEN NOT 'serverAuth' = ANY (f.allowed_ekus)
        THEN 'profile ' || f.id || ' does not allow the extended key usage serverAuth, which the certificate of a TLS server has'
    END
$$;

-- The approval that keeps a certificate from being issued; NULL: none. No path
-- issues without the approval that a rule asks for, and this version records
-- none. What a profile has against a certificate is no reason to leave it alone:
-- the attempt fails and says so.
CREATE OR REPLACE FUNCTION certificate_rule(c managed_certificates, p renewal_policies) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT CASE
    WHEN p.require_change_record
        THEN 'renewal policy ' || p.id || ' asks for an approved change record, which this version cannot take'
    WHEN (SELECT f.requires_approval FROM certificate_profiles f WHERE f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id))
        THEN 'profile ' || coalesce(c.certificate_profile_id, p.certificate_profile_id)
             || ' asks for a second person''s approval, which this version cannot take'
    END
$$;

-- A target needs an agent that serves it, and a certificate a target that is served.
CREATE FUNCTION target_has_agent() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    agent agents;
BEGIN
    SELECT a.* INTO agent FROM agents a WHERE a.id = NEW.agent_id FOR SHARE;
    IF agent.retired_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/agent_id',
            MESSAGE = format('agent_id: agent %s was retired on %s: a target needs an agent that serves it', agent.id,
                             to_char(agent.retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER target_has_agent BEFORE INSERT OR UPDATE OF agent_id ON deployment_targets
    FOR EACH ROW EXECUTE FUNCTION target_has_agent();

CREATE FUNCTION target_is_served() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    target deployment_targets;
BEGIN
    SELECT t.* INTO target FROM deployment_targets t WHERE t.id = NEW.target_id FOR SHARE;
    IF target.retired_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/target_ids',
            MESSAGE = format('target_ids: target %s was retired on %s: name one that is served', target.id,
                             to_char(target.retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'));
    END IF;
    RETURN NULL;
END
$$;
-- Afterwards: a list that is sent back with what it has already adds no row.
CREATE TRIGGER target_is_served AFTER INSERT ON certificate_target_mappings
    FOR EACH ROW EXECUTE FUNCTION target_is_served();

-- The same of the targets that a policy gives to certificates.
DROP TRIGGER policy_targets ON renewal_policies;
CREATE TRIGGER policy_targets AFTER INSERT ON renewal_policies FOR EACH ROW EXECUTE FUNCTION policy_targets();
CREATE TRIGGER policy_targets_changed AFTER UPDATE OF default_target_ids ON renewal_policies
    FOR EACH ROW WHEN (OLD.default_target_ids IS DISTINCT FROM NEW.default_target_ids) EXECUTE FUNCTION policy_targets();
