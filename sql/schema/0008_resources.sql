-- What the generic handlers of the REST API run for a plain resource: the name of
-- its table comes from a constant table of the daemon and is quoted, a body's
-- members are fields of the resource, its values travel as values.

-- The id of the new row. What the body does not name gets the column's default.
CREATE FUNCTION api_create(p_table text, p_body jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    columns text := (SELECT string_agg(quote_ident(k), ', ') FROM jsonb_object_keys(p_body) k);
    id      text;
BEGIN
    EXECUTE format(CASE WHEN columns IS NULL THEN 'INSERT INTO %I DEFAULT VALUES RETURNING id'
                        ELSE 'INSERT INTO %I (%s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$I, $1) RETURNING id' END,
                   p_table, columns)
       INTO id USING p_body;
    RETURN id;
END
$$;

-- Sets the columns that the body names; the id, or NULL when there is no such row.
CREATE FUNCTION api_update(p_table text, p_id text, p_body jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    columns text := coalesce((SELECT string_agg(quote_ident(k), ', ') FROM jsonb_object_keys(p_body) k), 'id');
    id      text;
BEGIN
    EXECUTE format('UPDATE %I t SET (%s) = (SELECT %2$s FROM jsonb_populate_record(t, $2)) WHERE t.id = $1 RETURNING t.id',
                   p_table, columns)
       INTO id USING p_id, p_body;
    RETURN id;
END
$$;

CREATE FUNCTION api_delete(p_table text, p_id text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    id text;
BEGIN
    EXECUTE format('DELETE FROM %I t WHERE t.id = $1 RETURNING t.id', p_table) INTO id USING p_id;
    RETURN id;
END
$$;

-- Which resource the rows of a table belong to, for api_dependants().
COMMENT ON TABLE organizations IS 'organization';
COMMENT ON TABLE teams IS 'team';
COMMENT ON TABLE owners IS 'owner';
COMMENT ON TABLE certificate_profiles IS 'profile';
COMMENT ON TABLE renewal_policies IS 'renewal_policy';
COMMENT ON TABLE issuers IS 'issuer';
COMMENT ON TABLE agents IS 'agent';
COMMENT ON TABLE deployment_targets IS 'target';
COMMENT ON TABLE managed_certificates IS 'certificate';
COMMENT ON TABLE certificate_target_mappings IS 'certificate';

-- What still refers to an object that is to be deleted, as
-- [{"type": "certificate", "id": "mc-a"}, ...], at most 20 of each type: rows of
-- each table that refers to p_table and has such a comment, by their first column.
CREATE FUNCTION api_dependants(p_table text, p_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS
$$
DECLARE
    reference record;
    these     jsonb;
    found     jsonb := '[]';
BEGIN
    FOR reference IN
        SELECT c.conrelid::regclass AS source, a.attname AS referrer, obj_description(c.conrelid, 'pg_class') AS type, i.attname AS id
          FROM pg_constraint c
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
          JOIN pg_attribute i ON i.attrelid = c.conrelid AND i.attnum = 1
         WHERE c.contype = 'f' AND c.confrelid = p_table::regclass AND c.confdeltype IN ('a', 'r')
           AND obj_description(c.conrelid, 'pg_class') IS NOT NULL
         ORDER BY 3, 1
    LOOP
        EXECUTE format('SELECT jsonb_agg(jsonb_build_object(''type'', %L, ''id'', x.id))
                          FROM (SELECT %I AS id FROM %s WHERE %I = $1 ORDER BY 1 LIMIT 20) x',
                       reference.type, reference.id, reference.source, reference.referrer)
           INTO these USING p_id;
        found := found || coalesce(these, '[]');
    END LOOP;
    RETURN found;
END
$$;

-- What a caller is told who breaks a named rule of the schema.

-- rule agent_fingerprint_format: fingerprint must be a SHA-256 in 64 lower-case hex digits
-- rule agent_kind: kind must be nginx-module or pull
-- rule agent_name_key: an agent of this name exists
-- rule agent_name_length: name must have 1 to 128 characters
-- rule agent_organization_fkey: organization_id names no organization, or agents still belong to it
-- rule agent_pinned: an nginx-module agent needs a url
-- rule agent_url_format: url must be https://host[:port] without a path
-- rule agent_url_key: an agent with this url exists

-- rule api_key_name_key: an API key of this name exists

-- rule audit_append_only: audit events are append-only

-- rule certificate_common_name_length: common_name must have 1 to 253 characters
-- rule certificate_issuer_fkey: issuer_id names no issuer, or certificates still use it
-- rule certificate_key_type: key_type must be ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096 or ed25519
-- rule certificate_name_length: name must have 1 to 253 characters
-- rule certificate_organization_fkey: organization_id names no organization, or certificates still belong to it
-- rule certificate_owner_fkey: owner_id names no owner, or certificates still belong to them
-- rule certificate_profile_fkey: certificate_profile_id names no profile, or certificates still use it
-- rule certificate_renewal_policy_fkey: renewal_policy_id names no renewal policy, or certificates still use it
-- rule certificate_status: status must be one of Pending, Active, Expiring, Expired, RenewalInProgress, Failed, Revoked, Archived
-- rule certificate_tags_object: tags must be an object
-- rule certificate_team_fkey: team_id names no team, or certificates still belong to it

-- rule issuer_config_object: config must be an object
-- rule issuer_name_key: an issuer of this name exists

-- rule job_open_key: such a job is already open

-- rule mapping_target_fkey: target_ids names no target, or certificates are still deployed to it

-- rule organization_name_key: an organization of this name exists

-- rule owner_email_format: email must be an address: name@host
-- rule owner_team_fkey: team_id names no team, or owners still belong to it

-- rule profile_algorithms_array: allowed_key_algorithms must be an array
-- rule profile_max_ttl_range: max_ttl_seconds must be between 60 and 316224000
-- rule profile_name_key: a profile of this name exists
-- rule profile_short_lived: allow_short_lived needs max_ttl_seconds below 3600

-- rule renewal_policy_auto_method: auto_renew needs a method that renews: manual and none only track
-- rule renewal_policy_concurrency_range: max_concurrent_renewals must be between 1 and 1000
-- rule renewal_policy_default_key: the account has a default policy: one policy for each scope
-- rule renewal_policy_interval_range: retry_interval_seconds must be between 60 and 86400
-- rule renewal_policy_issuer_fkey: issuer_id names no issuer, or renewal policies still use it
-- rule renewal_policy_method: method must be issuer, acme, ad_cs, manual or none
-- rule renewal_policy_name_key: a renewal policy of this name exists
-- rule renewal_policy_organization_fkey: organization_id names no organization, or a renewal policy still covers it
-- rule renewal_policy_organization_key: this organization has a policy: one policy for each scope
-- rule renewal_policy_profile_fkey: certificate_profile_id names no profile, or renewal policies still use it
-- rule renewal_policy_retries_range: max_retries must be between 0 and 10
-- rule renewal_policy_window_range: renewal_window_days must be between 1 and 365

-- rule target_agent_fkey: agent_id names no agent, or targets still stand on it
-- rule target_config_object: config must be an object
-- rule target_name_key: a target of this name exists

-- rule team_name_key: a team of this name exists
