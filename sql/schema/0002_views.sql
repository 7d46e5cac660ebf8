-- What the REST API answers: views without secret columns, whose rows become
-- JSON as they are, and the one function that lists them.

CREATE VIEW api_organizations AS SELECT id, name, created_at, updated_at FROM organizations;

CREATE VIEW api_teams AS SELECT id, name, description, created_at, updated_at FROM teams;

CREATE VIEW api_owners AS SELECT id, name, email, team_id, created_at, updated_at FROM owners;

CREATE VIEW api_issuers AS
SELECT id, name, type, config, enabled, source, last_tested_at, test_status, created_at, updated_at FROM issuers;

CREATE VIEW api_profiles AS
SELECT id, name, description, allowed_key_algorithms, max_ttl_seconds, max_ttl_seconds / 86400 AS max_validity_days, allowed_ekus,
       required_san_patterns, allow_short_lived, must_staple, requires_approval, enabled, created_at, updated_at
  FROM certificate_profiles;

CREATE VIEW api_renewal_policies AS
SELECT id, name, organization_id, is_default, issuer_id, certificate_profile_id, method, auto_renew, auto_renew AS auto_renew_enabled,
       renewal_window_days, renewal_window_days AS renew_before_days, max_retries, retry_interval_seconds, alert_thresholds_days,
       require_change_record, rollback_on_failure, max_concurrent_renewals, is_active, created_at, updated_at
  FROM renewal_policies;

CREATE VIEW api_agents AS
SELECT id, name, kind, organization_id, url, probe_address, fingerprint, trust_first_use AS trust_on_first_use, status, hostname, os,
       architecture, ip_address, version, nginx_version, openssl_version, workers, identity_expires_at, enrolled_at, last_error,
       last_heartbeat_at, registered_at, retired_at, retired_reason
  FROM agents;

CREATE VIEW api_agents_active AS SELECT * FROM api_agents WHERE retired_at IS NULL;
CREATE VIEW api_agents_retired AS SELECT * FROM api_agents WHERE retired_at IS NOT NULL;

CREATE VIEW api_targets AS
SELECT id, name, type, agent_id, config, enabled, last_tested_at, test_status, source, retired_at, retired_reason, created_at, updated_at
  FROM deployment_targets;

CREATE VIEW api_certificates AS
SELECT c.id, c.name, c.common_name, c.sans, c.environment, c.organization_id, c.owner_id, c.team_id, c.issuer_id,
       ARRAY(SELECT m.target_id FROM certificate_target_mappings m WHERE m.certificate_id = c.id ORDER BY m.target_id) AS target_ids,
       ARRAY(SELECT DISTINCT t.agent_id FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
              WHERE m.certificate_id = c.id) AS agent_ids,
       c.renewal_policy_id, c.certificate_profile_id, c.key_type, c.status, c.expires_at, c.expires_at AS not_after, c.renew_at, c.tags,
       c.source, c.consecutive_failures, c.next_retry_at, c.last_renewal_at, c.last_deployment_at, c.revoked_at, c.revocation_reason,
       c.created_at, c.updated_at
  FROM managed_certificates c;

CREATE VIEW api_certificate_versions AS
SELECT id, certificate_id, issuer_id, target_id, serial_number, not_before, not_after, fingerprint_sha256, spki_sha256, pem_chain, csr_pem,
       key_algorithm, key_size, created_at
  FROM certificate_versions;

CREATE VIEW api_renewal_attempts AS
SELECT id, certificate_id, status, method, job_id, rollback_job_id, requested_by, old_expiry, new_expiry, error, error AS error_message,
       started_at, completed_at, created_at
  FROM renewal_attempts;

CREATE VIEW api_jobs AS
SELECT id, type, status, certificate_id, target_id, agent_id, version_id, attempt_id, attempts, max_attempts, last_error, requested_by,
       scheduled_at, started_at, completed_at, created_at,
       CASE WHEN type <> 'Deployment' OR status = 'Cancelled' THEN 'skipped' WHEN status = 'Completed' THEN 'success'
            WHEN status = 'Failed' THEN 'failed' ELSE 'pending' END AS verification_status
  FROM all_jobs;

-- Where a certificate is served, and how its newest deployment there ended.
CREATE VIEW api_certificate_deployments AS
SELECT t.*, m.certificate_id, j.status AS deployment_status, j.completed_at AS last_deployed_at, j.last_error
  FROM certificate_target_mappings m
  JOIN api_targets t ON t.id = m.target_id
  LEFT JOIN LATERAL (SELECT a.status, a.completed_at, a.last_error FROM all_jobs a
                      WHERE a.certificate_id = m.certificate_id AND a.target_id = m.target_id AND a.type = 'Deployment'
                      ORDER BY a.created_at DESC LIMIT 1) j ON true;

CREATE VIEW api_discovered_certificates AS
SELECT id, fingerprint_sha256, common_name, sans, serial_number, issuer_dn, subject_dn, not_before, not_after, not_after AS expires_at,
       key_algorithm, key_size, is_ca, is_leaf, has_private_key, must_staple, staple, staple_next_update, pem_data, place AS source_path,
       source_format, source, server_names, listen, record, agent_id, discovery_scan_id, managed_certificate_id, status, expiry_status,
       days_until_expiry, first_seen_at, last_seen_at, dismissed_at, created_at, updated_at
  FROM discovered_certificates;

CREATE VIEW api_discovery_scans AS
SELECT id, agent_id, directories, certificates_found, certificates_new, errors_count, scan_duration_ms, started_at, completed_at
  FROM discovery_scans;

CREATE VIEW api_audit_events AS
SELECT seq, id, actor, actor_type, action, resource_type, resource_id, details, event_category, "timestamp" FROM audit_events;

CREATE VIEW api_auth_keys AS
SELECT id, name, permissions, expires_at, last_used_at, revoked_at, created_by, created_at FROM api_keys;

-- A page of a view as {"data":[...],"total":N,...}.  Names of views and columns
-- come from constant tables of the daemon and are quoted; what a caller wrote
-- travels as a value only, cast to the type of its column.
--   filters   [{"column":"status","op":"=","value":"Active"}, ...]; op: = < >= has
--   cursor    NULL: page p_page of p_size by number; '' begins, else as answered
--   fields    names to keep of each row, or NULL
CREATE FUNCTION api_list(p_view text, p_filters jsonb, p_sort text, p_descending boolean, p_order text, p_key text,
                         p_page bigint, p_size bigint, p_cursor text, p_fields jsonb) RETURNS text LANGUAGE plpgsql STABLE AS
$$
DECLARE
    condition text := 'true';
    ordering  text := format('v.%I DESC, v.%I DESC', p_order, p_key);
    source    text;
    filter    jsonb;
    position  text[] := '{}';
    total     bigint;
    rows      text[];
    cursors   text[];
BEGIN
    FOR i IN 0 .. jsonb_array_length(p_filters) - 1 LOOP
        filter := p_filters -> i;
        condition := condition || CASE filter ->> 'op'
            WHEN 'has' THEN format(' AND ($1 -> %s ->> ''value'') = ANY (v.%I)', i, filter ->> 'column')
            WHEN '=' THEN format(' AND v.%I = ($1 -> %s ->> ''value'')::%s', filter ->> 'column', i, api_type(p_view, filter ->> 'column'))
            WHEN '<' THEN format(' AND v.%I < ($1 -> %s ->> ''value'')::%s', filter ->> 'column', i, api_type(p_view, filter ->> 'column'))
            WHEN '>=' THEN format(' AND v.%I >= ($1 -> %s ->> ''value'')::%s', filter ->> 'column', i, api_type(p_view, filter ->> 'column'))
        END;
    END LOOP;

    EXECUTE format('SELECT count(*) FROM %I v WHERE %s', p_view, condition) INTO total USING p_filters;

    IF p_sort IS NOT NULL THEN
        ordering := format('v.%I %s NULLS LAST, v.%I', p_sort, CASE WHEN p_descending THEN 'DESC' ELSE 'ASC' END, p_key);
    END IF;

    IF p_cursor <> '' THEN
        position := api_cursor(p_cursor);
        condition := condition || format(' AND (v.%I, v.%I) < (($2)[1]::%s, ($2)[2]::%s)', p_order, p_key,
                                         api_type(p_view, p_order), api_type(p_view, p_key));
    END IF;

    source := format('SELECT * FROM %I v WHERE %s ORDER BY %s LIMIT %s OFFSET %s', p_view, condition, ordering,
                     p_size + 1, CASE WHEN p_cursor IS NULL THEN (p_page - 1) * p_size ELSE 0 END);

    EXECUTE format('SELECT array_agg(%s), array_agg(x.%I::text || '','' || x.%I::text) FROM (%s) x',
                   CASE WHEN p_fields IS NULL THEN 'row_to_json(x)::text'
                        ELSE '(SELECT json_object_agg(e.key, e.value)::text FROM json_each(row_to_json(x)) e WHERE $3 ? e.key)' END,
                   p_order, p_key, source)
       INTO rows, cursors USING p_filters, position, p_fields;

    RETURN '{"data":[' || coalesce(array_to_string(rows[1:p_size], ','), '') || '],"total":' || total
           || CASE WHEN p_cursor IS NULL THEN ',"page":' || p_page || ',"per_page":' || p_size || '}'
                   ELSE ',"next_cursor":' || coalesce('"' || translate(encode(convert_to(
                            CASE WHEN cardinality(cursors) > p_size THEN cursors[p_size] END, 'UTF8'), 'base64'), E'+/=\n', '-_') || '"', 'null')
                        || ',"page_size":' || p_size || '}' END;
END
$$;

CREATE FUNCTION api_type(p_view text, p_column text) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass(p_view) AND attname = p_column
$$;

-- The {order, key} that a cursor holds; it is the caller's text, so it may be anything.
CREATE FUNCTION api_cursor(p_cursor text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    plain text;
BEGIN
    plain := convert_from(decode(rpad(translate(p_cursor, '-_', '+/'), (length(p_cursor) + 3) / 4 * 4, '='), 'base64'), 'UTF8');
    IF plain !~ '^[-0-9:.+ ]{10,40},[^,]{1,100}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = '';
    END IF;
    RETURN string_to_array(plain, ',');
EXCEPTION WHEN data_exception OR character_not_in_repertoire THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the cursor is not one that this list answered';
END
$$;
